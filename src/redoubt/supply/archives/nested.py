"""What a JSON text holds, mapping by mapping, within a bound; without recursion, which hostile depth would exhaust."""

from collections.abc import Callable, Iterator
from typing import Any

from redoubt.supply.findings import Kind
from redoubt.supply.flaw import Damaged

Below = Callable[[Any, str, Any], str]
"""The place of a part: of its list or mapping, the place of that, and the part's index or key."""


def mappings(whole: Any, place: str, most: int, below: Below) -> Iterator[tuple[dict[str, Any], str]]:
    """Each mapping in it, and its place.

    Raises:
        Damaged: there are more than `most` values.
    """
    waiting, looked = [(whole, place)], 0
    while waiting:
        value, here = waiting.pop()
        looked += 1
        if looked > most:
            raise Damaged(place, f"has more than {most} values", Kind.BOMB)
        if isinstance(value, list):
            waiting.extend((part, below(value, here, index)) for index, part in enumerate(value))
        elif isinstance(value, dict):
            yield value, here
            waiting.extend((part, below(value, here, key)) for key, part in value.items())
