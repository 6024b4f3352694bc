"""NumPy archives with the arrays `x` and `y`."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from redoubt.data.raw import MAX_BYTES, Raw, in_file, unreadable
from redoubt.records import DataError, Place


def read_npz(path: Path) -> Raw:
    """Arrays `x` `[N, ...]` and `y` `[N]`.  Pickled objects are never read.

    Raises:
        DataError: no such file, no archive, no such arrays, objects in them, or more than the limit once unpacked.
    """
    where = Place(str(path))
    remedy = "write it with numpy.savez(file, x=inputs, y=labels)"
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise DataError(f"unpacks to more than {MAX_BYTES} bytes", where, remedy="give a smaller file")
        with np.load(path, allow_pickle=False) as arrays:
            missing = [name for name in ("x", "y") if name not in arrays.files]
            if missing:
                held = ", ".join(arrays.files[:8]) or "nothing"
                raise DataError(f"has no array '{missing[0]}', but {held}", where, remedy=remedy)
            x, y = arrays["x"], arrays["y"]
    except OSError as error:
        raise unreadable(path, error) from error
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        # NumPy says ValueError of objects that only a pickle could hold, and of damaged headers.
        raise DataError(f"is not an archive of plain arrays: {error}", where, remedy=remedy) from error
    if x.ndim == 0 or y.ndim == 0:
        raise DataError("holds single numbers as 'x' or 'y', not rows", where, remedy=remedy)
    # Bytes with two axes or more per input are pixels; bytes in a table stand for themselves.
    return in_file(x, y, (0.0, 255.0) if x.dtype == np.uint8 and x.ndim >= 3 else None, where)
