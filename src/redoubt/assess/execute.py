"""Run the chains of all plans to their ends, keeping each result as it comes."""

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from redoubt.assess.executors import Executor
from redoubt.assess.job import Job, Played
from redoubt.assess.store import TaskStore
from redoubt.assess.system import System


class Progress(Protocol):
    """Hears how an assessment goes on."""

    def planned(self, requirement: str, tasks: int) -> None:
        """A requirement takes at most that many tasks."""

    def playing(self, requirement: str, strategy: str, standing: int) -> None:
        """A task begins, with that many examples still standing in its part of the data."""

    def finished(self, requirement: str, tasks: int, reused: bool) -> None:
        """That many tasks are done, or need not be done any more."""


class Silent:
    """No progress shown."""

    def planned(self, requirement: str, tasks: int) -> None: ...
    def playing(self, requirement: str, strategy: str, standing: int) -> None: ...
    def finished(self, requirement: str, tasks: int, reused: bool) -> None: ...


class Stopwatch:
    """Seconds of work per requirement and strategy; not part of the evidence."""

    def __init__(self) -> None:
        self.seconds: dict[str, dict[str, float]] = {}

    def add(self, requirement: str, strategy: str, seconds: float) -> None:
        mine = self.seconds.setdefault(requirement, {})
        mine[strategy] = round(mine.get(strategy, 0.0) + seconds, 3)


_Chain: TypeAlias = Generator[Any, Any, None]


class _Waiter(NamedTuple):
    """A chain that waits for a task; two requirements, or a game and its curve, may wait for the same one."""

    plan: Played
    chain: _Chain
    most: int
    task: Job


def execute(
    plans: Sequence[Played],
    system: System,
    store: TaskStore,
    start: Callable[[], Executor],
    progress: Progress,
    clock: Stopwatch,
) -> None:
    """Run all chains to their ends.  The executor is started only if some task is not in the store yet."""
    waiting: dict[str, list[_Waiter]] = {}  # by task key: who goes on when its result comes
    to_do: list[Job] = []

    def advance(plan: Played, chain: _Chain, most: int, result: object) -> None:
        """Take the chain as far as kept results go, then leave it waiting for a task; `most` tasks are left in it."""
        while True:
            try:
                task = next(chain) if result is None else chain.send(result)
            except StopIteration:
                progress.finished(plan.requirement.id, most, True)
                return
            progress.playing(plan.requirement.id, task.name, task.standing)
            key = task.key(system.run)
            content = None if key in waiting else store.get(key)
            if content is None:
                if key not in waiting:
                    to_do.append(task)
                waiting.setdefault(key, []).append(_Waiter(plan, chain, most, task))
                return
            result = take(plan, task, key, content, reused=True)
            most -= 1

    def take(plan: Played, task: Job, key: str, content: bytes, *, reused: bool) -> object:
        taken = plan.take(task, content)
        clock.add(plan.requirement.id, task.clocked, store.seconds(key))
        progress.finished(plan.requirement.id, 1, reused)
        return taken

    for plan in plans:
        for chain, most in plan.chains:
            advance(plan, chain, most, None)
    if not to_do:
        return
    with start() as executor:
        while waiting:
            for task in to_do:
                executor.submit(task)
            to_do.clear()
            task, content, seconds = executor.finished()
            key = task.key(system.run)
            store.put(key, content, seconds)
            for plan, chain, most, same in waiting.pop(key):
                advance(plan, chain, most - 1, take(plan, same, key, content, reused=same is not task))
