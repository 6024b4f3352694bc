"""From arrays as they stand in a file to inputs and labels of a face; refuses, with the row, whatever does not fit."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from redoubt.data.raw import Raw
from redoubt.models.base import Face
from redoubt.records import DataError

_CHUNK = 4096


def fit(raw: Raw, face: Face) -> tuple[Tensor, Tensor]:
    """Inputs float32 `[N, *face.shape]` in the face's range, and labels int64 `[N]` in 0..K-1.

    Values with a native range (pixels 0..255, say) are mapped linearly onto the face's; others must lie in it as they
    are.  Images `[H, W, C]` are turned to `[C, H, W]`; axes of length 1 come and go; flat inputs are folded.

    Raises:
        DataError: empty, lengths differ, another shape; or, naming the first bad row (counted from 0): NaN or
            infinity, values outside the range, labels that are not integers in 0..K-1.
    """
    if not len(raw.x):
        raise DataError("the data are empty", raw.whole, remedy="give at least one example")
    where = raw.place(0)
    if len(raw.x) != len(raw.y):
        raise DataError(f"there are {len(raw.x)} inputs, but {len(raw.y)} labels", where, remedy="give as many of each")
    if raw.x.dtype.kind not in "biuf":
        raise DataError(f"inputs are of type {raw.x.dtype}, not numbers", where, remedy="store numbers")
    y = _labels(raw, face)
    values = _arranged(raw, face)
    native = raw.native
    if native is None and raw.x.dtype == np.uint8 and len(face.shape) >= 2:
        native = (0.0, 255.0)  # flattened images
    x = np.empty(values.shape, np.float32)
    for start in range(0, len(x), _CHUNK):
        part = values[start : start + _CHUNK].astype(np.float64)
        _refuse(raw, start, part, ~np.isfinite(part), "which is not a number", "remove the row, or fill the gap")
        if native is not None:
            low, high = native
            _refuse(raw, start, part, (part < low) | (part > high), f"outside {low:g}..{high:g}", "mend the file")
            part = face.low + (part - low) / (high - low) * (face.high - face.low)
            x[start : start + _CHUNK] = np.clip(part.astype(np.float32), np.float32(face.low), np.float32(face.high))
        else:
            single = part.astype(np.float32)
            outside = (single < np.float32(face.low)) | (single > np.float32(face.high))
            _refuse(raw, start, part, outside, f"outside the model's range {face.low:g}..{face.high:g}", _RANGE_REMEDY)
            x[start : start + _CHUNK] = single
    return torch.from_numpy(x), torch.from_numpy(y)


_RANGE_REMEDY = (
    "scale the data, or correct `range` in the policy; pixels stored as bytes (uint8) are scaled by themselves"
)


def _labels(raw: Raw, face: Face) -> NDArray[np.int64]:
    y = raw.y.reshape(len(raw.y)) if raw.y.size == len(raw.y) else raw.y
    if y.ndim != 1 or y.dtype.kind not in "biuf":
        raise DataError(
            f"labels are {y.dtype} of shape {list(raw.y.shape)}; expected one integer per example",
            raw.place(0),
            remedy="store class numbers 0, 1, 2, … (of one-hot labels, the argmax)",
        )
    numbers = y.astype(np.float64)
    wrong = ~np.isfinite(numbers) | (numbers != np.floor(numbers)) | (numbers < 0) | (numbers >= face.classes)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"row {row}: label {numbers[row]:g} is not an integer in 0..{face.classes - 1} "
            f"({int(wrong.sum())} of {len(y)} rows are so)",
            raw.place(row),
            remedy="count classes from 0, and make `classes` in the policy their true number",
        )
    return numbers.astype(np.int64)


def _arranged(raw: Raw, face: Face) -> NDArray[np.generic]:
    """The inputs in the face's shape, no value in another's place."""
    own, shape = raw.x.shape[1:], face.shape
    if own == shape:
        return raw.x
    if len(own) == 3 and (own[2], *own[:2]) == shape:
        return raw.x.transpose(0, 3, 1, 2)
    same = [size for size in own if size != 1] == [size for size in shape if size != 1]
    flat = math.prod(own) == math.prod(shape) and 1 in (len(own), len(shape))
    if not (same or flat):
        raise DataError(
            f"inputs have shape {list(own)} ({math.prod(own)} values), the model takes {list(shape)} "
            f"({math.prod(shape)} values)",
            raw.place(0),
            remedy="correct `shape` in the policy, or prepare the data as the model expects them",
        )
    return raw.x.reshape(len(raw.x), *shape)


def _refuse(raw: Raw, start: int, part: NDArray[np.float64], bad: NDArray[np.bool_], why: str, remedy: str) -> None:
    if not bad.any():
        return
    row, *index = (int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))
    raise DataError(
        f"row {start + row}: x{index} is {part[row, *index]:g}, {why}", raw.place(start + row), remedy=remedy
    )
