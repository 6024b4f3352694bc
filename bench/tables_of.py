"""Figures as Markdown: tables, shares, intervals.  What the sections of docs/results.md share."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; all columns but the first are numbers, on the right."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def share(value: float) -> str:
    """A proportion in percent."""
    return f"{100 * value:.1f} %"


def interval(low: float, high: float) -> str:
    """A confidence interval in percent."""
    return f"{100 * low:.1f}–{100 * high:.1f} %"
