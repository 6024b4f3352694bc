"""What an adaptive search found, summed over its batches, for the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from redoubt.records import Found, Tried


@dataclass(frozen=True)
class Composed:
    """A row of the table: a composition, and what it fooled, as text."""

    what: str
    scored: str
    played: str


@dataclass(frozen=True)
class Search:
    """The section's words and rows."""

    parts: str
    rows: tuple[Composed, ...]
    mended: str


def search_section(found: Sequence[Found]) -> Search | None:
    """The section, or None where no search found anything amiss."""
    broken = [note for note in found if note.parts]
    if not broken:
        return None
    parts = dict.fromkeys(f"{part.part} ({part.flaw})" for note in broken for part in note.parts)
    whats = dict.fromkeys(tried.what for note in broken for tried in (*note.played, *note.scored))
    rows = tuple(
        Composed(
            what,
            _sum([tried for note in broken for tried in note.scored if tried.what == what]),
            _sum([tried for note in broken for tried in note.played if tried.what == what]),
        )
        for what in whats
    )
    mended = all(note.mended for note in broken)
    return Search(
        f"Probing found {', '.join(parts)}.",
        rows,
        "Steps along the gradients that it composed bring the model's own answers nearer to wrong, so that failing "
        "says something."
        if mended
        else "Steps along the best gradients that it composed seldom pay, so that failing says little.",
    )


def _sum(tried: Sequence[Tried]) -> str:
    if not tried:
        return "–"
    return f"{sum(one.fooled for one in tried)} of {sum(one.attacked for one in tried)}"
