"""How much of an unknown caller's request is looked at."""

import functools
import math
from dataclasses import dataclass

from redoubt.models import Face

_NUMBER = 26  # bytes of a float64 in JSON, with its comma and a blank
_HEAD = 64 * 2**10
_PICTURE = 4 * 2**20
_MARKS = 2**15


@dataclass(frozen=True)
class Limits:
    """Bounds on one request.  Whatever is larger is refused before work is spent on it.

    Attributes:
        rows: inputs in one request.
        body: bytes.
        values: numbers in the tensor, and so four times as many bytes of memory.
        marks: of each `[`, `{` and `"` in the JSON part: what its parser may build out of few bytes.
        pixels: of all pictures of a request together, as their headers declare them.
        text: characters of an id or a parameter.
        parameters: of a request, or of a tensor.
    """

    rows: int = 256
    body: int = 32 * 2**20
    values: int = 2**22
    marks: int = 100_000
    pixels: int = 2**22
    text: int = 256
    parameters: int = 32

    @classmethod
    def of(cls, face: Face, rows: int = 256) -> "Limits":
        """What requests to a model of this face need, and no more.

        A batch of `rows` inputs fits as JSON, flat or nested, with 26 bytes a number, if that is no more than 32 MiB.
        """
        return _limits(face.shape, rows)


@functools.lru_cache(maxsize=64)  # of some microseconds, for every request
def _limits(shape: tuple[int, ...], rows: int) -> Limits:
    size = math.prod(shape)
    lists = 2 + rows * sum(math.prod(shape[:axis]) for axis in range(len(shape)))
    body = min(max(rows * size * _NUMBER + _HEAD, _PICTURE), Limits.body)
    marks = min(lists + _MARKS, Limits.marks)
    return Limits(rows=rows, body=body, values=min(rows * size, Limits.values), marks=marks)
