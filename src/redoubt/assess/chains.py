"""The plan: chains of tasks, each task's examples being those that the one before it left standing."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from redoubt.assess.suite import Bout
from redoubt.assess.task import Purpose, Result, Task
from redoubt.records import Access, Adversary, Budget

EXAMPLES_PER_TASK = 250  # part of the claim: it decides which examples share a batch, so it is the same everywhere

Chain: TypeAlias = Generator[Task, Result, None]


@dataclass(frozen=True)
class Done:
    """A finished task and its result."""

    task: Task
    result: Result


def split(rows: Sequence[int]) -> list[tuple[int, ...]]:
    """Rows in parts of a task's size."""
    return [tuple(rows[i : i + EXAMPLES_PER_TASK]) for i in range(0, len(rows), EXAMPLES_PER_TASK)]


def play_bouts(
    requirement: str,
    purpose: Purpose,
    bouts: Sequence[Bout],
    rows: tuple[int, ...],
    adversary: Adversary,
    access: Access,
    seed: int,
) -> Chain:
    """Every bout in turn, against whoever still stands, until the budget is spent."""
    spent_passes = spent_queries = 0  # by the examples still standing, who have all been asked about equally often
    budget = adversary.budget
    for bout in bouts:
        left = Budget.model_construct(
            passes=None if budget.passes is None else budget.passes - spent_passes,
            queries=None if budget.queries is None else budget.queries - spent_queries,
        )
        if not rows or 0 in (left.passes, left.queries):
            return
        result = yield Task(requirement, purpose, bout.attack, bout.within, access, rows, left, seed)
        standing = ~result.fooled
        rows = tuple(row for row, stands in zip(rows, standing.tolist(), strict=True) if stands)
        if rows:
            spent_passes += int(result.meter.passes[standing].max())
            spent_queries += int(result.meter.queries[standing].max())
