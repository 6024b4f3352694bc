"""Progress of an assessment on the terminal: which requirement, which strategy, how many survive, time left."""

import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from redoubt.cli.app import err


class Shown:
    """What is on the terminal while its block runs, and no longer: the `_progress` of a subclass."""

    _progress: Progress

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class Bars(Shown):
    """A bar for each requirement; on a pipe, a line every half minute instead."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}"),
            TimeRemainingColumn(),
            console=err,
            disable=not err.is_terminal,
        )
        self._bars: dict[str, TaskID] = {}
        self._total = self._done = self._kept = 0
        self._said = time.monotonic()

    def planned(self, requirement: str, tasks: int) -> None:
        self._bars[requirement] = self._progress.add_task(requirement, total=tasks, now="")
        self._total += tasks

    def playing(self, requirement: str, strategy: str, standing: int) -> None:
        now = f"{strategy}, {standing} standing"
        self._progress.update(self._bars[requirement], now=now)
        if not err.is_terminal and time.monotonic() - self._said > 30:
            self._said = time.monotonic()
            err.print(f"{self._done} of at most {self._total} tasks; {requirement}: {now}")

    def finished(self, requirement: str, tasks: int, reused: bool) -> None:
        self._done += tasks
        self._kept += tasks if reused else 0
        self._progress.update(self._bars[requirement], advance=tasks)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bar in self._bars.values():
            self._progress.update(bar, now="")
        super().__exit__(kind, error, trace)
