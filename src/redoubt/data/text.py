"""Text as examples for a language model: pieces of as many tokens as it sees, each labelled with the next."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from redoubt.data.raw import MAX_BYTES, Raw, in_file, unreadable
from redoubt.models.base import Face
from redoubt.records import DataError, Place


def read_text(path: Path, face: Face, encode: Callable[[str], Tensor]) -> Raw:
    """The text of a UTF-8 file, in pieces that do not overlap; the rest at its end is left out.

    Raises:
        DataError: it cannot be read, is no UTF-8, is shorter than a piece, or holds what the model has no token for.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"has more than {MAX_BYTES >> 30} GiB", Place(str(path)), remedy="give a part of it")
        text = path.read_text("utf-8")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise DataError(f"is no UTF-8: {error.reason}", Place(str(path)), remedy="save it as UTF-8") from error
    tokens, size = encode(text).numpy(), face.shape[0]
    pieces = (len(tokens) - 1) // size
    if pieces < 1:
        raise DataError(
            f"has {len(tokens)} tokens, and the model looks at {size}", Place(str(path)), remedy="give more text"
        )
    x = tokens[: pieces * size].reshape(pieces, size).astype(np.int64)
    return in_file(x, tokens[size : pieces * size + 1 : size].astype(np.int64), None, Place(str(path)))
