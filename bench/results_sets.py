"""The section of `docs/results.md` on sets beyond norm balls, from `.bench/out/sets.json`."""

from collections.abc import Iterable
from typing import Any

from common import told
from tables_of import table

AIM_TARGETED = 0.9  # published for patches of about a tenth of the image (Brown et al. 2017)


def _share(found: dict[str, Any]) -> str:
    return f"{100 * found['count'] / found['of']:.1f} % ({100 * found['low']:.1f}–{100 * found['high']:.1f})"


def section() -> Iterable[str]:
    """All that was measured of it; nothing if nothing was."""
    found = told("sets")
    if not found:
        return
    yield "## Beyond norm balls\n"
    yield (
        "The plain MNIST model, test images drawn class-balanced, seed 0; intervals are 95 %. Each line of the first "
        "three tables is played by its strategy alone, from all images that the model answers rightly.\n"
    )
    titles = {
        "turn": "Rotation by 30 degrees and translation by 3 pixels",
        "mixed": "Turned first, moved then",
        "corruptions": "Eleven kinds of corruption",
    }
    for name, title in titles.items():
        if name in found:
            yield f"### {title}\n"
            yield _robust(found[name])
    if "corruptions" in found:
        yield (
            "Severities are ImageNet-C's, and the worst of all kinds is taken for each image, not their mean; digits "
            "under two of them at severity 5 are often beyond a human reader too.\n"
        )
    if "patch" in found:
        yield from _patches(found["patch"])
    if "universal" in found:
        yield from _universal(found["universal"])


def _short(within: str) -> str:
    return within if len(within) < 70 else "all kinds" + within[within.index(" of severity") :]


def _robust(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        clean, last = row["steps"][0], row["steps"][-1]
        strategies = ", ".join(f"`{step['strategy']}`" for step in row["steps"][1:])
        lines.append(
            (
                _short(row["within"]),
                strategies,
                row["robust"]["of"],
                f"{100 * clean['standing'] / row['robust']['of']:.1f} %",
                _share(row["robust"]),
                f"{last['passes']:.0f}",
            )
        )
    return table(("set", "strategy", "images", "clean", "robust (95 %)", "passes per image"), lines)


def _patches(rows: list[dict[str, Any]]) -> Iterable[str]:
    yield "### Patches\n"
    yield (
        "Chance places the patch (anywhere, 0.8 to 1.2 times its size, turned by up to 20 degrees, lighter or darker "
        "by 0.1). An image counts if it is fooled, or answered as class 3 where that is the target, in at least half, "
        "or nine tenths, of 20 placements that the attack has not seen; *placements* is the share of all of them. "
        "*One for all* was made on other images than it is measured on.\n"
    )
    lines = [
        (
            f"{row['within'].split(',')[0]}, {row['kind']}",
            "any" if row["target"] is None else row["target"],
            row["fooled"]["0.5"]["of"],
            _share(row["fooled"]["0.5"]),
            _share(row["fooled"]["0.9"]),
            f"{100 * row['placements']:.1f} %",
            f"{row['passes']:.0f}",
        )
        for row in rows
    ]
    yield table(
        ("patch", "target", "images", "half (95 %)", "nine tenths (95 %)", "placements", "passes per image"), lines
    )
    tenth = [row for row in rows if row["target"] is not None and row["within"].startswith("patch 10 %")]
    for row in tenth:
        met = "met" if row["placements"] > AIM_TARGETED else "**missed**"
        yield (
            f"Aim: targeted success above {100 * AIM_TARGETED:.0f} % at about 10 % of the area, {row['kind']}: {met} "
            f"({100 * row['placements']:.1f} % of placements).\n"
        )


def _universal(rows: list[dict[str, Any]]) -> Iterable[str]:
    yield "### One move for all images\n"
    yield "Made on half of the images that the model answers rightly; random signs of the same size beside it.\n"
    names = list(rows[0]["fooled"])
    lines = [(row["within"], *(_share(row["fooled"][name]) for name in names)) for row in rows]
    yield table(("set", *(f"fooled, {name}" for name in names)), lines)
