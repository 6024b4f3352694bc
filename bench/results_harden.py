"""The section of docs/results.md on hardening: strong models of the zoo, and what recipes cost."""

from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

from common import told
from redoubt.games import clopper_pearson

_IMAGES = 1000
_AIMS = {"strong-linf": ("Linf 0.3", 89.0), "strong-l2": ("L2 2.5", 66.0), "strong-turn": ("±3 px, ±30°", 98.0)}
_COST_AIMS = {"fast": 2.2, "PGD-7": 8.5}


def section() -> Iterable[str]:
    """All that was measured of it; nothing if nothing was."""
    rows = [row for name in _AIMS if (row := _row(name)) is not None]
    cost = told("harden_cost")
    if not rows and not cost:
        return
    yield "## Hardening\n"
    if rows:
        yield (
            "Models of the zoo (`make zoo`; policies in `bench/zoo_policies`) on MNIST, whose training attack and "
            "choice of epochs saw training images only. Robust accuracy is of the same 1,000 class-balanced test "
            "images, under our standard suite, under `pyautoattack` 0.2.0 `standard`, and under both: an image counts "
            "if it withstands every attack of either. The suite's first strategy for turns and shifts is the "
            "exhaustive grid. To beat: the figures of Madry's group.\n"
        )
        head = ["model", "set", "clean, 10,000 images", "suite", "AutoAttack", "both (95 %)", "to beat", "trained in"]
        yield "| " + " | ".join(head) + " |\n|---|---" + "|---:" * (len(head) - 2) + "|"
        yield "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"
    if cost:
        yield from _cost(cost)


def _row(name: str) -> list[str] | None:
    """One model; None if it was not trained or not attacked."""
    made, clean = told(f"zoo/{name}"), told(f"strong/{name}-clean")
    ours, theirs = told(f"strong/{name}-redoubt"), told(f"strong/{name}-autoattack")
    if made is None or clean is None or ours is None:
        return None
    fooled = [bool(one) for one in ours["fooled"]]
    if theirs is not None:
        fooled = [one or bool(other) for one, other in zip_longest(fooled, theirs["fooled"], fillvalue=False)]
    standing = len(fooled) - sum(fooled)
    interval = clopper_pearson(standing, ours["images"])
    where, aim = _AIMS[name]
    return [
        name,
        where,
        f"{100 * clean['right'] / clean['of']:.2f} %",
        _share(ours),
        "–" if theirs is None else _share(theirs),
        f"**{100 * standing / ours['images']:.1f} %** ({100 * interval.low:.1f}–{100 * interval.high:.1f})",
        f"{aim:g} %",
        f"{made['price']['seconds'] / 60:.0f} min",
    ]


def _share(run: dict[str, Any]) -> str:
    """Who stands, and of how many images where it did not get all."""
    words = f"{100 * run['stages'][-1]['standing'] / run['images']:.1f} %"
    return words if run["images"] == _IMAGES else f"{words} of the first {run['images']}"


def _cost(cost: dict[str, Any]) -> Iterable[str]:
    """What an epoch costs, in plain epochs."""
    yield (
        f"What an epoch costs, as a multiple of a plain one in the same run: processor seconds over {cost['images']:,} "
        f"images on one thread, median of {cost['rounds']} rounds that take turns "
        "(least–greatest), beside other work on the same cores.\n"
    )
    yield "| recipe | plain epochs | aim |\n|---|---:|---:|"
    lines = []
    for name, ratio in cost["ratios"].items():
        if name != "plain" and not name.startswith("bare"):
            aim = f"<= {_COST_AIMS[name]:g}" if name in _COST_AIMS else "–"
            lines.append(f"| {name} | {ratio['median']:.2f} ({ratio['min']:.2f}–{ratio['max']:.2f}) | {aim} |")
    yield "\n".join(lines) + "\n"
    beside = cost["beside_bare"]
    yield (
        f"Beside a bare loop of the same passes, plain training takes {beside['plain']['median']:.2f} times as long "
        f"and PGD-7 {beside['PGD-7']['median']:.2f} times.\n"
    )
