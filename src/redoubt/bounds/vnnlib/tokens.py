"""The text of a VNN-LIB file as nested lists, each with its line; bounded in size and depth."""

import re
from dataclasses import dataclass
from typing import TypeAlias

from redoubt.records import Place, PolicyError

MAX_BYTES = 64 * 2**20
MAX_DEPTH = 32
_TOKEN = re.compile(r"[()]|;[^\n]*|\n|[ \t\r\f]+|\|[^|\n]*\||\"[^\"\n]*\"|[^\s();|\"]+|[|\"]")


@dataclass(frozen=True)
class Word:
    """A name, a number or a keyword."""

    text: str
    line: int


@dataclass(frozen=True)
class Group:
    """What stands between two brackets, and the line of the first."""

    items: "tuple[Node, ...]"
    line: int

    @property
    def head(self) -> str:
        """The first word; empty if there is none."""
        first = self.items[0] if self.items else None
        return first.text if isinstance(first, Word) else ""


Node: TypeAlias = Word | Group


def parse(text: str, name: str) -> tuple[Node, ...]:
    r"""The groups of a text.

    Args:
        text: of a file.
        name: of the file, for messages.

    Raises:
        PolicyError: brackets that do not match, or are nested too deep, or a quote without an end; with the line.

    >>> [group.head for group in parse("(a (b 1))  ; why\n(c)", "x.vnnlib")]
    ['a', 'c']
    """
    open_: list[tuple[list[Node], int]] = []
    found: list[Node] = []
    line = 1
    for match in _TOKEN.finditer(text):
        mark = match.group()
        if mark == "\n":
            line += 1
        elif mark == "(":
            if len(open_) >= MAX_DEPTH:
                raise PolicyError(f"nested deeper than {MAX_DEPTH} brackets", Place(name, line))
            open_.append(([], line))
        elif mark == ")":
            if not open_:
                raise PolicyError("a ) that closes nothing", Place(name, line), remedy="take it away")
            items, start = open_.pop()
            (open_[-1][0] if open_ else found).append(Group(tuple(items), start))
        elif mark in ("|", '"'):
            raise PolicyError("a quote without an end on its line", Place(name, line))
        elif mark[0] not in " \t\r\f;":
            (open_[-1][0] if open_ else found).append(Word(mark, line))
    if open_:
        raise PolicyError("a ( that is never closed", Place(name, open_[-1][1]), remedy="is the file cut off?")
    return tuple(found)
