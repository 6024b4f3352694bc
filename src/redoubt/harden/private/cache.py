"""Features on disk: computed once, mapped into memory ever after."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from redoubt.records import DataError, Place, StorageError, digest

_BLOCK = 1024  # rows computed between two writes


def cached_features(
    folder: Path, x: Tensor, of: str, name: str, features: Callable[[Tensor], Tensor], block: int = _BLOCK
) -> Tensor:
    """The features of `x`, from the folder if they lie there, and else computed block by block and laid there.

    Args:
        folder: where to; made if it is missing.
        x: inputs `[N, ...]`.
        of: the digest of `x`, as `Dataset.digest` holds it.
        name: what `features` computes, parameters included; another name is another file.
        features: a function of each row by itself, `[B, ...]` to float32 `[B, ...]`.
        block: rows at a time.

    Returns:
        float32 `[N, ...]`, mapped from the file; writing to it changes a private copy, never the file.

    Raises:
        DataError: there are no rows, or the file is not what was written: it has another shape, type or length.
        StorageError: the folder cannot be written to.
    """
    if not len(x):
        raise DataError("there are no inputs to compute features of", remedy="give some data")
    path = folder / f"{digest([of, name]).removeprefix('sha256:')[:32]}.npy"
    if not path.exists():
        _compute(path, x, features, block)
    return _mapped(path, len(x))


def _compute(path: Path, x: Tensor, features: Callable[[Tensor], Tensor], block: int) -> None:
    """Into a file of another name, so that one that was killed half-way is never taken for a whole one."""
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=".npy")
        os.close(handle)
        part = Path(name)
        first = features(x[:1])
        out = np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=(len(x), *first.shape[1:]))
        for start in range(0, len(x), block):
            out[start : start + block] = features(x[start : start + block]).float().cpu().numpy()
        out.flush()
        del out
        part.replace(path)
    except OSError as error:
        raise StorageError(
            f"cannot write features: {error.strerror or error}", Place(str(path)), remedy="free some space"
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def _mapped(path: Path, rows: int) -> Tensor:
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"is no file of features: {error}", Place(str(path)), remedy="delete it") from error
    if array.dtype != np.float32 or len(array) != rows:
        raise DataError(
            f"holds {array.dtype} {list(array.shape)}, not float32 of {rows} rows", Place(str(path)), remedy="delete it"
        )
    return torch.from_numpy(array)
