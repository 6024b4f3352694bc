"""How the log is: its checkpoint, who cosigned it, and how many entries came in each hour."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from redoubt.ledger import Verifier, verify_cosignature
from redoubt.records import RedoubtError
from redoubt.service.log import LogReader, read_verifier
from redoubt.service.ui.proofs.reading import find

HOURS = 24
_HOUR = 3600
_LATE = 256  # so many events of keys on end, at most, are passed over


@dataclass(frozen=True)
class Witnessed:
    """What one witness has cosigned.

    Attributes:
        name: the witness's.
        size: of the last checkpoint that it did; None if there is none.
        at: when, by its own clock.
        behind: entries that came since.
        wrong: why there is none.
    """

    name: str
    size: int | None = None
    at: float = 0.0
    behind: int = 0
    wrong: str = ""


def witnessed(folder: Path, size: int, keys: Sequence[str]) -> list[Witnessed]:
    """The last cosignature of each witness that the policy names.

    Args:
        folder: of the log.
        size: of its checkpoint.
        keys: the witnesses' verifier keys.
    """
    return [_witnessed(folder, size, key) for key in keys]


def _witnessed(folder: Path, size: int, text: str) -> Witnessed:
    name = text
    try:
        key: Verifier = read_verifier(text)
        name = key.name
        reader = LogReader(folder, None, [key])
        at = verify_cosignature(reader.note, key)
    except RedoubtError as error:
        return Witnessed(name, wrong=error.what)
    return Witnessed(name, reader.size, at, max(0, size - reader.size))


@dataclass(frozen=True)
class Hour:
    """One hour: when it begins, how many entries came in it, and its bar's height, 0 to 100."""

    begins: float
    entries: int
    height: float


def by_hour(reader: LogReader, now: float) -> list[Hour]:
    """Entries in each of the last 24 hours, by their own times, the hour under way last.

    The hours are found by bisection, since times in a log grow; where a clock was set back, what comes out is near.

    Raises:
        StorageError: the disk refuses.
    """
    last = int(now // _HOUR)
    edges = [(last + 1 - back) * _HOUR for back in range(HOURS + 1)]  # the latest first
    places = [reader.size]
    for edge in edges[1:]:
        places.append(_first_since(reader, edge * 1000, places[-1]))
    counts = [places[at] - places[at + 1] for at in range(HOURS)]
    top = max(counts) or 1
    return [Hour(edges[at + 1], counts[at], 100 * counts[at] / top) for at in reversed(range(HOURS))]


def _first_since(reader: LogReader, milliseconds: int, stop: int) -> int:
    """The first of the entries before `stop` that is not older; looked for from the end, where it mostly is."""
    step, high = 1, stop
    low = stop
    while low > 0 and _at(reader, low - 1) >= milliseconds:
        high = low - 1
        low = max(0, low - step)
        step *= 2
    while low < high:
        middle = (low + high) // 2
        if _at(reader, middle) >= milliseconds:
            high = middle
        else:
            low = middle + 1
    return high


def _at(reader: LogReader, index: int) -> int:
    """When an entry was written.  An event of a key carries the time of its act: the entry before tells."""
    for at in range(index, max(-1, index - _LATE), -1):
        entry = find(reader, at).entry
        if entry is not None and entry.kind != "key":
            return entry.at
    return 0
