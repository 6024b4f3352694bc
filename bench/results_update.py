"""The section of docs/results.md on the update gate."""

from collections.abc import Iterable
from typing import Any

from common import told

_ORDER = ("no gate", "each update", "and all together", "and labels")


def section() -> Iterable[str]:
    """Batches until the attack succeeds, by gate: what of it was measured."""
    found: list[dict[str, Any]] = told("update") or []
    if not found:
        return
    most = found[0]["most"]
    seeds = len({row["seed"] for row in found})
    yield "## Slow poisoning through the update gate"
    yield ""
    yield (
        f"MNIST, a network of 64 units that learns on in batches of 200 images, at most {most} of them; {seeds} "
        f"seed{'s' if seeds > 1 else ''}. Figures are batches until the attack succeeds on half of the test images; "
        "in brackets how much of it succeeds in the end and how many batches were let in. *Each update*: the default "
        "bounds against the model before; *all together*: also against the first model, three times as wide; *labels*: "
        "at most 12 % of a batch's labels contradicted. What would be left to a person is not let in."
    )
    yield ""
    yield "| attack, share of each batch | " + " | ".join(_ORDER) + " |"
    yield "|---|" + "---:|" * len(_ORDER)
    for kind, rate in dict.fromkeys((row["attack"], row["rate"]) for row in found):
        cells = []
        for gate in _ORDER:
            rows = [r for r in found if (r["gate"], r["attack"], r["rate"]) == (gate, kind, rate)]
            cells.append("; ".join(_cell(row) for row in rows) or "–")
        yield f"| {kind}{f', {rate:.1%}' if rate else ''} | " + " | ".join(cells) + " |"
    yield ""


def _cell(row: dict[str, Any]) -> str:
    reached = f"{row['batches']}" if row["batches"] else f"> {row['most']}"
    played = sum(row["outcomes"].values())
    return f"{reached} ({row['success']:.0%}; {row['outcomes']['accepted']} of {played})"
