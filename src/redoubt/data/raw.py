"""What a reader hands over: arrays as they stand in the file, and where each row stands."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from redoubt.records import DataError, Place

MAX_BYTES = 8 * 2**30
"""No reader unpacks more than this."""


@dataclass(frozen=True)
class Raw:
    """Inputs and labels before they are fitted to a face.

    Attributes:
        x: `[N, ...]`, numbers of any type.
        y: labels of any type, `[N]`.
        native: the range that all values of `x` are known to come from; None if the values stand for themselves.
        place: where row i stands.
        whole: where they all stand.
    """

    x: NDArray[np.generic]
    y: NDArray[np.generic]
    native: tuple[float, float] | None
    place: Callable[[int], Place]
    whole: Place


def in_file(x: NDArray[np.generic], y: NDArray[np.generic], native: tuple[float, float] | None, whole: Place) -> Raw:
    """Rows of a file without lines: each stands in the file as a whole."""
    return Raw(x, y, native, lambda _row: whole, whole)


def unreadable(path: Path, error: OSError) -> DataError:
    """The error of a file that the operating system does not give."""
    return DataError(f"cannot be read: {error.strerror or error}", Place(str(path)), remedy="correct `source`")
