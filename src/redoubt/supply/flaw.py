"""What the readers of single formats give to the judge."""

from typing import NamedTuple

from redoubt.supply.findings import Kind


class Flaw(NamedTuple):
    """A finding without the file's name.  `what` is a clause that stands after the place."""

    kind: Kind
    place: str
    what: str
    remedy: str = ""


class Damaged(Exception):
    """The bytes are not of the format, or not within the bounds of the reader.  Never leaves the judge.

    Args:
        place: where in the file.
        what: what is wrong there.
        kind: DAMAGED unless something else is meant.
    """

    def __init__(self, place: str, what: str, kind: Kind = Kind.DAMAGED) -> None:
        super().__init__(place, what)
        self.flaw = Flaw(kind, place, what)


def words(text: str) -> list[str]:
    """The words of a list that is written as a text, where one to a line would fill pages."""
    return text.split()


def shown(text: object, most: int = 120) -> str:
    r"""Text of an unknown author on one line, without control characters, cut to `most` characters.

    >>> shown("a\n\x1b[31mb")
    'a\\n\\x1b[31mb'
    """
    plain = str(text)[: most * 4]
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode("ascii") for c in plain)
    return safe if len(safe) <= most else safe[: most - 1] + "…"
