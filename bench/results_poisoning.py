"""The section of docs/results.md on poisoning: chosen predictions and accuracy after training on 1 % of poison."""

import statistics
from collections.abc import Iterable
from typing import Any

from common import told


def section() -> Iterable[str]:
    """The table on a network, if it was measured."""
    found = told("poisoning")
    if found:
        yield "## Poisoning"
        yield from _network(found)


def linear() -> Iterable[str]:
    """The table on a softmax regression: a part of its own, so that it can be measured alone."""
    found = told("poisoning_linear")
    if found:
        yield from _linear(found)


def _network(found: dict[str, Any]) -> Iterable[str]:
    yield ""
    yield (
        f"MNIST, a part of it: {found['train']:,} training images, a network 784-128-10 trained from scratch for 10 "
        f"epochs; {found['accuracy']:.1%} of {found['asked']:,} test images are answered rightly without poison. Each "
        f"target is a test image of its own, wanted as the surrogates' second choice, with {found['victims']} victims. "
        "The interval counts all victims of a target as one. Checked: rows are left out whose label is not the most "
        f"frequent among {found['neighbours']} neighbours; aware: the adversary knows that, and changes what passes. "
        "Aimless: no target, accuracy alone, two poisoned sets."
    )
    yield ""
    yield "| attack | share of the data | targets flipped | accuracy | poison left out | honest rows left out |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, row in found["rows"].items():
        played = row["played"]
        if not played:
            continue
        accuracy = statistics.mean(one["accuracy"] for one in played)
        flipped = "–"
        if "flipped" in row:
            hits, trials, low, high = row["flipped"]
            flipped = f"{hits} of {trials} [{low:.1%}, {high:.1%}]"
        changed, caught, lost = (sum(one.get(key, 0) for one in played) for key in ("rows", "caught", "lost"))
        out = f"{caught / max(changed, 1):.1%}" if "caught" in played[0] else "–"
        honest = f"{lost / (found['train'] * len(played) - changed):.1%}" if "caught" in played[0] else "–"
        share = changed / len(played) / found["train"]
        yield f"| {name} | {share:.2%} | {flipped} | {accuracy:.1%} | {out} | {honest} |"


def _linear(found: dict[str, Any]) -> Iterable[str]:
    yield (
        f"A softmax regression of {found['train']} images of 4 and 9, fitted to its optimum ({found['accuracy']:.1%} "
        "right on all test images of the two): one or nine rows are changed, inputs within the whole range or labels."
    )
    yield ""
    yield "| attack and rows | targets flipped |"
    yield "|---|---:|"
    for name, (hits, trials, low, high) in found["rows"].items():
        yield f"| {name} | {hits} of {trials} [{low:.1%}, {high:.1%}] |"
