"""A training on the terminal: a bar, and the curves of clean and robust accuracy as they grow."""

from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from redoubt.cli.app import err
from redoubt.cli.progress import Shown

if TYPE_CHECKING:
    from redoubt.harden import Epoch

_LEVELS = "▁▂▃▄▅▆▇█"
_WIDTH = 24


def curve(shares: list[float]) -> str:
    """Shares 0..1 as a line of blocks, the latest at the right.

    >>> curve([0.0, 0.5, 1.0])
    '▁▅█'
    """
    return "".join(_LEVELS[min(int(share * len(_LEVELS)), len(_LEVELS) - 1)] for share in shares[-_WIDTH:])


class Curves(Shown):
    """A line per epoch; on a terminal, a bar and two curves below them.  Nothing at all if `quiet`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._progress = Progress(
            TextColumn("epochs"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("clean {task.fields[clean]}  robust {task.fields[robust]}"),
            TimeRemainingColumn(),
            console=err,
            disable=quiet or not err.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, clean="", robust="")
        self._clean: list[float] = []
        self._robust: list[float] = []

    def heard(self, epoch: "Epoch", of: int) -> None:
        """Show what an epoch did, of how many."""
        if self._quiet:
            return
        self._clean.append(epoch.clean)
        self._robust.append(epoch.robust)
        told = f", undone {epoch.undone} times for catastrophic overfitting" if epoch.undone else ""
        err.print(
            f"epoch {epoch.number:>3}/{of}  loss {epoch.loss:.3f}  held out: clean {epoch.clean:.1%}, "
            f"under attack {epoch.robust:.1%}{told}"
        )
        self._progress.update(
            self._task, total=of, completed=epoch.number, clean=curve(self._clean), robust=curve(self._robust)
        )
