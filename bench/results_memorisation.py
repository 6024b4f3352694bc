"""The section of docs/results.md on memorisation: exposure against insertions, and what was extracted."""

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common import told

PICTURE = Path(__file__).resolve().parent.parent / "docs/images/exposure.svg"
_AIM = 20
_COLOURS = {"over-fitted": "#c0392b", "private": "#2463ba"}


def section() -> Iterable[str]:
    """What of it was measured."""
    rows = told("memorisation")
    if not rows:
        return
    PICTURE.write_text(picture(rows))
    one = rows[0]
    yield "## Memorisation"
    yield ""
    yield (
        f"A character model of tinyshakespeare (a GPT of {one['weights']:,} weights, 1,000 records of 64 characters), "
        "with 40 canaries of eight digits written into some records, once to 16 times each, and eight more that were "
        "not. The same records train it until it knows much of them by heart, and by DP-SGD (opacus) at epsilon 3, "
        "delta 1e-5. The unit is a record: a canary in 16 records has the protection of 16, not of one. The "
        "over-fitted one is the third that was tried: of 3,125 records, one gave away none of the 40 secrets, and one "
        "that saw each record cut at the same place only, 6. The "
        "private one is untrained by comparison, as its bits per character say, so that it keeps secrets is no merit."
    )
    yield ""
    times = " | ".join(f"{number}x" for number in one["exposure"])
    yield f"| model | bits per character, trained on | held out | {times} |"
    yield "|---|---:|---:|" + "---:|" * len(one["exposure"])
    for row in rows:
        cells = [f"{statistics.median(bits):.1f}" for bits in row["exposure"].values()]
        bits = row["bits"]
        yield f"| {row['kind']} | {bits['inside']:.2f} | {bits['outside']:.2f} | {' | '.join(cells)} |"
    yield ""
    misfits = " and ".join(f"{row['misfit']:.3f} ({row['kind']})" for row in rows)
    yield (
        f"Median exposure in bits of the eight canaries that stand so often in the text; {one['most']:.1f} is the most "
        "there is, and an unseen secret has 1. Ranks are estimated by a skew-normal distribution, which misses a fresh "
        f"sample by {misfits}; where it misses by more than 0.05, a policy would decide nothing."
    )
    yield ""
    yield "![Exposure against insertions](images/exposure.svg)"
    yield ""
    yield from _extracted(rows)


def _extracted(rows: list[dict[str, Any]]) -> Iterable[str]:
    yield "| model | texts drawn | claimed | pieces of 30 characters or more | planted secrets, of 40 | CPU seconds |"
    yield "|---|---:|---:|---:|---:|---:|"
    for row in rows:
        drawn, claimed = row["drawn"] + row["aimed"], row["claims"] + row["aimed_claims"]
        secrets, seconds = sum(row["secrets"].values()), row["seconds"]["extraction"]
        yield f"| {row['kind']} | {drawn:,} | {claimed:,} | {len(row['pieces'])} | {secrets} | {seconds:.0f} |"
    yield ""
    found = {row["kind"]: sum(row["secrets"].values()) for row in rows}
    met = found.get("over-fitted", 0) >= _AIM and found.get("private") == 0
    yield (
        "Half of the texts are drawn after a line break or public text, half after the words that stand before every "
        "secret. All are claims ranked by perplexity, zlib and lower case, and counted only where they stand in the "
        "training text letter by letter. "
        f"At least {_AIM} secrets out of the over-fitted model and none out of the private one: "
        f"{'met' if met else '**missed**'}."
    )


def picture(rows: list[dict[str, Any]]) -> str:
    """Exposure of every canary against how often it was planted, as a drawing that needs no style sheet."""
    width, height, left, bottom, top = 560, 320, 50, 270, 20
    times = list(rows[0]["exposure"])
    most = rows[0]["most"] * 1.05
    step = (width - left - 20) / len(times)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12"><title>Exposure against insertions</title>'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
    ]

    def y(bits: float) -> float:
        return round(bottom - (bottom - top) * bits / most, 1)

    for bits in range(0, int(most) + 1, 5):
        parts.append(f'<path d="M{left} {y(bits)}H{width - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y(bits) + 4}" text-anchor="end">{bits}</text>')
    for at, number in enumerate(times):
        middle = left + step * (at + 0.5)
        parts.append(f'<text x="{middle:.0f}" y="{bottom + 18}" text-anchor="middle">{number}</text>')
        for side, row in enumerate(rows):
            x, colour = middle + 18 * (side - 0.5), _COLOURS[row["kind"]]
            for bits in row["exposure"][number]:
                parts.append(f'<circle cx="{x:.0f}" cy="{y(bits)}" r="3.5" fill="{colour}" fill-opacity="0.6"/>')
    parts.append(
        f'<text x="{(left + width) / 2}" y="{bottom + 38}" text-anchor="middle">times in the training text</text>'
    )
    parts.append(f'<text x="{left + 6}" y="{top + 2}">exposure in bits</text>')
    for at, row in enumerate(rows):
        x = width - 230 + 110 * at
        parts.append(f'<circle cx="{x}" cy="{top - 3}" r="4" fill="{_COLOURS[row["kind"]]}"/>')
        parts.append(f'<text x="{x + 9}" y="{top + 2}">{row["kind"]}</text>')
    return "".join(parts) + "</svg>\n"
