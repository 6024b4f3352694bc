"""The section on tables."""

from collections.abc import Iterable
from typing import Any

from common import told


def _share(point: dict[str, Any]) -> str:
    low, high = point["interval"]
    return f"{100 * point['robust'] / point['of']:.1f} % ({100 * low:.1f}–{100 * high:.1f})"


def section() -> Iterable[str]:
    """Adult: robust accuracy against the cost of a change, for each model and strategy."""
    result = told("tables")
    if result is None:
        return
    budgets = [point["budget"] for point in next(iter(next(iter(result["models"].values()))["curves"].values()))]
    yield "## Tables: what it costs to change a decision (Adult)\n"
    yield (
        f"{result['rows']:,} test rows, {result['queries']:,} passes a row, 95 % intervals. Age, race, sex, family and "
        "country cannot change. One unit of cost: five hours a week, a capital gain or loss of 500; a year of school, "
        "another occupation or another sector cost two. Not tuned on the test rows.\n"
    )
    yield "| model | strategy | unattacked | " + " | ".join(f"cost ≤ {budget:g}" for budget in budgets) + " |"
    yield "|---|---|---" + "|---" * len(budgets) + "|"
    for name, model in result["models"].items():
        for title, curve in model["curves"].items():
            clean = f"{100 * model['clean'] / result['rows']:.1f} %"
            yield f"| {name} | {title} | {clean} | " + " | ".join(_share(point) for point in curve) + " |"
    yield ""
