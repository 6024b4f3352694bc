"""Versions of the policy, and what each changed."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from redoubt.records import PolicyError
from redoubt.service.stores.base import Version

SHOWN = 100
_MOST_LINES = 400  # of a difference
_MOST_COMPARED = 5000  # lines of a text: difflib takes the square of it at worst


@dataclass(frozen=True)
class Line:
    """A line of a difference: `kind` is `+`, `-`, `@`, or a blank."""

    kind: str
    text: str


@dataclass(frozen=True)
class Told:
    """One version.

    Attributes:
        version: as the store has it.
        enforced: whether this guard decides by it now.
    """

    version: Version
    enforced: bool


def tell_versions(versions: Sequence[Version], enforced: str) -> list[Told]:
    """The latest hundred versions, latest first; of several with the digest in force, the last is the one."""
    numbers = [version.number for version in versions if version.digest == enforced]
    current = numbers[-1] if numbers else 0
    return [Told(version, version.number == current) for version in reversed(versions[-SHOWN:])]


def choose(versions: Sequence[Version], text: str) -> Version:
    """The version of that number.

    Raises:
        PolicyError: there is none.
    """
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else 0
    found = next((version for version in versions if version.number == number), None)
    if found is None:
        raise PolicyError(f"there is no such version; there are {len(versions)}", remedy="choose one of the list")
    return found


def difference(before: Version | None, after: Version) -> list[Line]:
    """What a version changed of the one before it; everything, of the first."""
    old, new = (version.text.splitlines() if version else [] for version in (before, after))
    if max(len(old), len(new)) > _MOST_COMPARED:
        return [Line("@", f"More than {_MOST_COMPARED} lines are not compared here.")]
    lines = list(difflib.unified_diff(old, new, lineterm="", n=3))[2:]
    told = [Line(line[:1], line[1:] if line[:1] in "+- " else line) for line in lines[:_MOST_LINES]]
    return told if len(lines) <= _MOST_LINES else [*told, Line("@", f"{len(lines) - _MOST_LINES} more lines")]
