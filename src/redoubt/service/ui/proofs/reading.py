"""The log as the dashboard reads it: from its files, as anybody could, and afresh for every page.

Nothing is kept between pages, so that what was changed on the disk is seen at once.
"""

from dataclasses import dataclass
from pathlib import Path

from redoubt.ledger import Verifier
from redoubt.records import LedgerError, LogEntry
from redoubt.service.log import LogReader, parse_entry, read_verifier, verifier_file


@dataclass(frozen=True)
class Opened:
    """A log, opened.

    Attributes:
        reader: at its latest checkpoint.
        key: the log's verifier key.
        trouble: why the checkpoint cannot be believed; empty if its signature holds.
    """

    reader: LogReader
    key: Verifier
    trouble: str


def open_log(folder: Path) -> Opened:
    """Open a log; a wrong signature is told, and the log can still be looked at.

    Raises:
        LedgerError: there is no checkpoint at all, or it cannot be read.
        StorageError: the disk refuses.
    """
    key = read_verifier(str(verifier_file(folder)))
    try:
        return Opened(LogReader(folder, key), key, "")
    except LedgerError as error:
        return Opened(LogReader(folder), key, error.what)


@dataclass(frozen=True)
class Found:
    """One entry; `entry` is None where the log has something else than was logged, and `broken` says what."""

    index: int
    entry: LogEntry | None
    broken: str = ""


def find(reader: LogReader, index: int) -> Found:
    """The entry of that index, checked against its leaf.

    Raises:
        PolicyError: there is none.
        StorageError: the disk refuses.
    """
    try:
        return Found(index, parse_entry(reader.entry(index)))
    except LedgerError as error:
        return Found(index, None, error.what)
