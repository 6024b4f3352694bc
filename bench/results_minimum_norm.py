"""The section of docs/results.md on minimum norms."""

from collections.abc import Iterable
from typing import Any

from common import told
from redoubt.games import measured

_NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1", "l0": "L0"}


def section() -> Iterable[str]:
    """A table for each model and norm: median least distance, robust accuracy at radii, passes and seconds."""
    rows: list[dict[str, Any]] = told("minimum_norm") or []
    if not rows:
        return
    yield "## The nearest wrong answer"
    yield ""
    yield (
        "The least distance at which each image is answered wrongly, as each attack found it in one run, on images "
        "that the model answers rightly; and the share of them that stands at some radii, with its 95 % interval. "
        "Lower is a better attack. Passes are forward and backward passes per image, counted at the module. The "
        "constants of `fmn` were chosen on test images of the plain model, which favours it there; that its slopes "
        "leak (`docs/decisions/0033`), and how much, on training images of both."
    )
    for norm, which in dict.fromkeys((row["norm"], row["model"]) for row in rows):
        mine = [row for row in rows if (row["norm"], row["model"]) == (norm, which)]
        yield ""
        yield f"### {_NORMS[norm]}, {which} model, {mine[0]['images']} images"
        yield ""
        radii = list(mine[0]["standing"])
        yield f"| attack | median | {' | '.join(f'at {radius}' for radius in radii)} | passes | seconds |"
        yield "|---" * (len(radii) + 4) + "|"
        for row in mine:
            shares = " | ".join(_share(row["standing"][radius], row["images"]) for radius in radii)
            yield (
                f"| {row['contender']} | {row['median']:.4g} | {shares} | {row['passes']:,.0f} | {row['seconds']:.1f} |"
            )
        yield ""
        yield _aim(mine)


def _share(standing: int, images: int) -> str:
    share = measured("robust_accuracy", standing, images)
    low, high = share.interval.low, share.interval.high
    return f"{share.value:.1%} ({low:.1%} to {high:.1%})"


def _aim(rows: list[dict[str, Any]]) -> str:
    """Whether ours finds nearer points than every peer at no more passes than any that comes as near."""
    ours = [row for row in rows if row["contender"].startswith("ours: ") and _shipped(row)]
    peers = [row for row in rows if not row["contender"].startswith("ours: ")]
    if not ours or not peers:
        return ""
    best = min(ours, key=lambda row: row["median"])
    nearer = [row for row in peers if row["median"] < best["median"]]
    kept = "met" if not nearer else "**missed**"
    beaten = ", ".join(f"{row['contender']} {row['median']:.4g} in {row['passes']:,.0f} passes" for row in nearer)
    return (
        f"Aim: no peer finds a lower median than {best['contender']}, at any number of passes. {kept}. {beaten}".strip()
    )


def _shipped(row: dict[str, Any]) -> bool:
    return row["contender"] in {"ours: fmn", "ours: sigma-zero"}
