"""The latest entries of the log that somebody asks for."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from redoubt.records import Action, PolicyError
from redoubt.service.log import LogReader
from redoubt.service.ui.proofs.reading import Found, find

SHOWN = 50
_LOOKED = 5000  # entries that one page looks through, so that no filter keeps the guard busy for long
_MOST = 300  # letters of an account's name

CHOICES = ("decisions", *Action, "events")
"""What can be asked for: all decisions, one kind of them, or what the guard and its administrators did."""


@dataclass(frozen=True)
class Filter:
    """Which entries; what is empty asks for all.

    Attributes:
        action: one of `CHOICES`.
        account: its name, or a part of it.
        tier: its name.
    """

    action: str = ""
    account: str = ""
    tier: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Filter":
        """From an address; what makes no sense there asks for all."""
        action = query.get("action", "")
        return cls(
            action if action in CHOICES else "", query.get("account", "").strip()[:_MOST], query.get("tier", "")[:_MOST]
        )

    @property
    def query(self) -> str:
        """As it stands in an address."""
        asked = {"action": self.action, "account": self.account, "tier": self.tier}
        return urlencode({name: value for name, value in asked.items() if value})

    def wants(self, found: Found) -> bool:
        """Whether that entry is one of them.  A broken one always is: it must not hide."""
        entry = found.entry
        if entry is None:
            return True
        if self.action == "events" and entry.kind == "decision":
            return False
        if self.action == "decisions" and entry.kind != "decision":
            return False
        if self.action in list(Action) and entry.action != self.action:
            return False
        if self.account and self.account.casefold() not in (entry.account or "").casefold():
            return False
        return not self.tier or entry.tier == self.tier


@dataclass(frozen=True)
class Listing:
    """A page of entries.

    Attributes:
        rows: newest first.
        newest: whether the log has nothing newer.
        older: the index before which the next page begins; None when there is nothing older.
        looked: how many entries were looked through.
        tally: how many of each action, mildest first.
    """

    rows: list[Found]
    newest: bool
    older: int | None
    looked: int
    tally: list[tuple[str, int]]


def list_entries(reader: LogReader, wanted: Filter, before: int | None) -> Listing:
    """The newest entries of a filter with smaller indices than `before`.

    Raises:
        StorageError: the disk refuses.
    """
    stop = reader.size if before is None else min(before, reader.size)
    rows: list[Found] = []
    at = stop
    while at > 0 and len(rows) < SHOWN and stop - at < _LOOKED:
        at -= 1
        found = find(reader, at)
        if wanted.wants(found):
            rows.append(found)
    seen = Counter(found.entry.action for found in rows if found.entry)
    tally = [(str(action), seen[action]) for action in Action if seen[action]]
    return Listing(rows, stop == reader.size, at or None, stop - at, tally)


def index_of(text: str) -> int:
    """An index as it stands in an address.

    Raises:
        PolicyError: it is none.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise PolicyError("this is no index of an entry", remedy="indices are whole numbers from 0")
    return int(text)
