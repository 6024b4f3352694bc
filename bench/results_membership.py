"""The section of docs/results.md on membership: over-fitted and private models, and the speed of shadow models."""

import statistics
from collections.abc import Iterable
from typing import Any

from common import told

_SETS = {"location30": "Location-30", "fashion_mnist": "Fashion-MNIST"}
_MEASURES = ("tpr_at_fpr_0.001", "tpr_at_fpr_0.01", "membership_auc")
_NEAR_CHANCE = {"tpr_at_fpr_0.001": 0.005, "tpr_at_fpr_0.01": 0.02, "membership_auc": 0.55}


def location() -> Iterable[str]:
    """Location-30, under the heading of all that stands below."""
    yield from _of("location30", "## Membership")


def fashion() -> Iterable[str]:
    """Fashion-MNIST."""
    yield from _of("fashion_mnist")


def speed() -> Iterable[str]:
    """Shadow models side by side, and one by one."""
    measured = told("membership_speed")
    if not measured:
        return
    seconds = measured["seconds"]
    yield (
        f"Training {measured['models']} shadow models of Location-30 (446-128-30, {measured['records']:,} records, "
        f"{measured['epochs']} epochs) side by side as one batched model takes {seconds['batched']:.1f} processor "
        f"seconds, one by one {seconds['loop']:.1f}: {seconds['loop'] / seconds['batched']:.1f}x, the median of "
        f"{measured['rounds']} rounds in turn."
    )


def _of(name: str, *heading: str) -> Iterable[str]:
    rows = [row for row in told("membership") or [] if row["set"] == name]
    if rows:
        yield from heading
    for row in rows:
        yield from _attacks(row)


def _attacks(row: dict[str, Any]) -> Iterable[str]:
    half = row["records"] // 2
    kind = "softmax regression by DP-SGD at epsilon 3" if row["kind"] == "private" else "an over-fitted network"
    yield ""
    yield (
        f"{_SETS[row['set']]}, {kind}: {half:,} members and {half:,} others; {row['inside']:.1%} of the members are "
        f"answered rightly, {row['outside']:.1%} of the others. Mean of {row['targets']} targets, each attacked with "
        f"{row['models'] - 2} shadow models trained alike; in brackets the interval of the first, its threshold "
        "counted in."
    )
    yield ""
    yield "| strategy | found at 0.1 % | found at 1 % | AUC |"
    yield "|---|---:|---:|---:|"
    strongest = dict.fromkeys(_MEASURES, 0.0)
    for name in row["attacks"][0]:
        cells = []
        for at, measure in enumerate(_MEASURES):
            mean = statistics.mean(target[name][at]["value"] for target in row["attacks"])
            first = row["attacks"][0][name][at]
            strongest[measure] = max(strongest[measure], mean)
            shown = (lambda v: f"{v:.3f}") if measure == "membership_auc" else (lambda v: f"{v:.2%}")
            cells.append(f"{shown(mean)} [{shown(first['low'])}, {shown(first['high'])}]")
        yield f"| `{name}` | {' | '.join(cells)} |"
    if row["kind"] == "private":
        near = all(strongest[measure] <= most for measure, most in _NEAR_CHANCE.items())
        yield ""
        yield f"Near chance: {'met' if near else '**missed**'}."
