"""Attacks by queries beside other libraries' as a section of the page of results."""

import statistics
from collections.abc import Iterable
from typing import Any

from common import names, told

_FEW = 10  # images fooled, below which no median is compared
_BUDGETS = ("10", "50", "100", "500", "1000", "5000")
_ACCESS = {"scores": "sees scores", "label": "sees labels only"}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4g}" if value < 10_000 else f"{value:,.0f}"


def _cheapest(contestant: dict[str, Any], count: int) -> float:
    """Median queries over the `count` images that cost it least."""
    return float(statistics.median(sorted(spent for spent in contestant["fell"] if spent is not None)[:count]))


def _fallen(contestant: dict[str, Any]) -> int:
    return sum(spent is not None for spent in contestant["fell"])


def _duels(contestants: dict[str, dict[str, Any]]) -> Iterable[str]:
    """Each peer against that of our attacks which shares the most success with it; of equals, the cheaper one."""
    ours = {name: one for name, one in contestants.items() if one["library"] == "redoubt"}
    for name, peer in contestants.items():
        if peer["library"] == "redoubt":
            continue
        if _fallen(peer) < _FEW:
            yield f"- {name} fooled {_fallen(peer)}, too few for a median to be compared."
            continue
        both = {own: min(_fallen(mine), _fallen(peer)) for own, mine in ours.items()}
        shares = [own for own in ours if both[own]]
        own = min(shares, key=lambda own: (-both[own], _cheapest(ours[own], both[own])), default=None)
        if own is None:
            yield f"- {name} fooled {_fallen(peer)}, and ours none: **missed**."
            continue
        mine_median, peer_median = _cheapest(ours[own], both[own]), _cheapest(peer, both[own])
        met = mine_median <= peer_median and _fallen(ours[own]) >= _fallen(peer)
        yield (
            f"- `{own}` against {name}, the {both[own]} cheapest images of each: median {_number(mine_median)} against "
            f"{_number(peer_median)} queries; fooled in all {_fallen(ours[own])} against {_fallen(peer)}: "
            f"{'met' if met else '**missed**'}."
        )


def _rows(setting: dict[str, Any]) -> Iterable[str]:
    budgets = [budget for budget in _BUDGETS if int(budget) <= setting["limit"]]
    head = ("implementation", "fooled", "median", "mean", "median at 90 %", "90 % after")
    yield "| " + " | ".join((*head, *(f"within {budget}" for budget in budgets))) + " |"
    yield "|---" + "|---:" * (len(head) - 1 + len(budgets)) + "|"
    for name, one in setting["contestants"].items():
        fooled = f"{_fallen(one)}/{len(one['fell'])} ({100 * one['low']:.0f}–{100 * one['high']:.0f} %)"
        figures = (_number(one[key]) for key in ("median", "mean", "median_at_90", "reach_90"))
        curve = (f"{100 * one['curve'][budget]:.0f} %" for budget in budgets)
        yield "| " + " | ".join((name, fooled, *figures, *curve)) + " |"


def opening() -> Iterable[str]:
    """Markdown: what all settings have in common; nothing unless one of them was measured."""
    if names("black_box/*"):
        yield "## Attacks by queries\n"
        yield (
            "`bench/black_box.py`: the first test images that the model answers rightly, one image at a time, seeded "
            "by the image's number. One oracle counts for all: an attack ends at its first wrong answer inside the "
            "set, whatever it meant the query for; a point asked twice counts once; the clean image is free. Median "
            "and mean are over the images fooled; at 90 %, over the cheapest 90 % of all images. The last columns are "
            "the curve: how many had fallen within so many queries. Aim: at equal success, a median of no more than "
            "the peer's, and no fewer fooled.\n"
        )


def race(name: str) -> Iterable[str]:
    """Markdown of one setting, from `.bench/out/black_box/NAME.json`; nothing if it is not there."""
    setting = told(f"black_box/{name}")
    if setting is None:
        return
    yield f"### {setting['model']}, {setting['within']}, {_ACCESS[setting['access']]}\n"
    ways = {name: one["settings"] for name, one in setting["contestants"].items() if one["settings"]}
    yield (
        f"{setting['images']} images, up to {setting['limit']:,} queries each. "
        f"{'; '.join(f'{name}: {way}' for name, way in ways.items())}.\n"
    )
    yield "\n".join(_rows(setting)) + "\n"
    yield "\n".join(_duels(setting["contestants"])) + "\n"
