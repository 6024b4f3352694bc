"""The plan: chains of tasks, each task's examples being those that the one before it left standing."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from redoubt.assess.suite import Bout
from redoubt.assess.task import Purpose, Result, Task
from redoubt.records import Access, Adversary

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
    """Every bout in turn, against whoever still stands.

    The budget is each example's.  Of a union's members, each has an equal part kept for it, and what the earlier ones
    leave over besides: else a strong first member would let no other be played.
    """
    members = list(dict.fromkeys(bout.within for bout in bouts))
    budget = adversary.budget
    spent_passes = spent_queries = 0  # by the examples still standing, who have all been asked about equally often
    for bout in bouts:
        later = len(members) - 1 - members.index(bout.within)
        kept_passes, kept_queries = (
            later * ((limit or 0) // len(members)) for limit in (budget.passes, budget.queries)
        )
        left = budget.after(spent_passes + kept_passes, spent_queries + kept_queries)
        if not rows:
            return
        if left is None:
            continue
        result = yield Task(requirement, purpose, bout.attack, bout.within, access, rows, left, seed)
        standing = ~result.fooled
        rows = tuple(row for row, stands in zip(rows, standing.tolist(), strict=True) if stands)
        if rows:
            spent_passes += int(result.meter.passes[standing].max())
            spent_queries += int(result.meter.queries[standing].max())
