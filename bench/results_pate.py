"""The section of docs/results.md on PATE."""

import statistics
from collections.abc import Iterable
from typing import Any

from common import told

_ACCURACY, _EPSILON = 0.985, 1.97


def section() -> Iterable[str]:
    """Accuracy, epsilon, its parts and the votes: what of it was measured."""
    found: dict[str, Any] = told("pate") or {}
    if not found:
        return
    rows = [found[seed] for seed in sorted(found, key=int)]
    settings = rows[0]["settings"]["aggregator"]
    yield "## PATE"
    yield ""
    yield (
        "MNIST, 250 teachers of 240 images each: least squares on scattering features. Answers are given where the "
        f"most votes, with noise of deviation {settings['check']:g}, reach {settings['threshold']:g}, and are the "
        f"noisy maximum with deviation {settings['deviation']:g}; inputs are asked about until epsilon {_EPSILON} at "
        "delta 1e-5 is spent, counted by how the votes fell. The student, a small network trained by consistency, "
        "learns from 9,000 test images without labels and is measured on the last 1,000. Settings were chosen among "
        f"{len(told('pate_search') or [])} on training images, not accounted for. The epsilon that may "
        "be published has the release of the cost in it; the third is by the paper's conversion."
    )
    yield ""
    yield (
        "| seed | asked | answered | rightly | student | epsilon | published | paper's conversion | checks, votes |"
        "\n|---:|---:|---:|---:|---:|---:|---:|---:|---|"
    )
    for seed, row in zip(sorted(found, key=int), rows, strict=True):
        other = row["epsilon by the paper's conversion"]
        shares = ", ".join(f"{share:.0%}" for share in row["shares"].values())
        yield (
            f"| {seed} | {row['asked']} | {row['answered']} | {row['answered rightly'] / row['answered']:.2%} "
            f"| {row['accuracy']:.2%} | {row['epsilon']:.3f} | {row['epsilon published']:.3f} "
            f"| {other:.3f} | {shares} |"
        )
    accuracy = statistics.mean(row["accuracy"] for row in rows)
    epsilon = max(row["epsilon"] for row in rows)
    met = "met" if accuracy >= _ACCURACY and epsilon <= _EPSILON else "**missed**"
    yield ""
    vote = rows[0]["teachers' vote"]
    yield (
        f"Mean accuracy {accuracy:.2%} of {len(rows)} seeds at epsilon {epsilon:.3f} at most (aim >= "
        f"{_ACCURACY:.1%} at <= {_EPSILON}): {met}. The teachers' vote without noise is right on {vote:.2%}."
    )
    yield ""
    yield "How many teachers agreed on the inputs that were asked about, seed 0, and what an answer cost there:"
    yield ""
    yield "| teachers who agree | inputs | mean Renyi cost of an answer |"
    yield "|---|---:|---:|"
    counts = rows[0]["most votes"]
    costs = {round(10 * start): cost for start, cost in rows[0]["cost by most votes"]}
    for tenth in range(10):
        inputs = sum(counts[at] for at in range(25) if int(at / 2.5) == tenth)
        cost = f"{costs[tenth]:.2e}" if tenth in costs else "–"
        yield f"| {tenth * 10}–{tenth * 10 + 10} % | {inputs:.0f} | {cost} |"
