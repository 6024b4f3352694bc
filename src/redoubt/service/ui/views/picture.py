"""Inputs that the log keeps, and training examples, to be looked at."""

import base64
import binascii
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from redoubt.models import Face
from redoubt.records import LogEntry
from redoubt.report.pictures import is_image, picture

_VALUES = 64  # of an input that is no picture


@dataclass(frozen=True)
class Drawn:
    """An input to look at: a picture as `data:` URI; or, where it is none, its first values."""

    source: str
    values: list[str]


def kept_input(entry: LogEntry, face: Face) -> NDArray[np.float32] | None:
    """The input `[*shape]` that an entry keeps; None if it keeps none that a model of this face takes.

    An input of which the entry also keeps the digest must have that digest.
    """
    if entry.input is None:
        return None
    try:
        raw = base64.b64decode(entry.input, validate=True)
    except (binascii.Error, ValueError):
        return None
    if entry.digest is not None and entry.digest != f"sha256:{hashlib.sha256(raw).hexdigest()}":
        return None
    if len(raw) != 4 * int(np.prod(face.shape)):
        return None
    x = np.frombuffer(raw, dtype="<f4").astype(np.float32).reshape(face.shape)
    return x if np.isfinite(x).all() else None


def draw(x: NDArray[np.float32], face: Face) -> Drawn:
    """An input `[*shape]` of that face."""
    if is_image(face.shape):
        return Drawn(picture(x, face.low, face.high), [])
    return Drawn("", [f"{value:.4g}" for value in x.reshape(-1)[:_VALUES].tolist()])
