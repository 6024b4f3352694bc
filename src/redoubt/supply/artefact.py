"""A file of an unknown author as bytes: opened once, bounded, and a plain file."""

import os
import stat
from pathlib import Path

from redoubt.records import ModelError

MOST_BYTES = 16 * 2**30


def read_once(path: Path, most: int = MOST_BYTES, *, follow_links: bool = True) -> bytes:
    """The file's bytes.  Whatever happens to the name afterwards, these are what was read.

    Raises:
        ModelError: there is no such file, it is no plain file (a pipe or a device would make its reader wait), it
            cannot be read, or it has more than `most` bytes.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW)
    try:
        handle = os.open(path, flags)
        with os.fdopen(handle, "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise ModelError(f"{path.name} is no plain file", remedy="name a model file")
            raw = file.read(most + 1) if state.st_size > most else file.read()
    except OSError as error:
        raise ModelError(
            f"cannot read {path}: {error.strerror or error}", remedy="relative paths start at the policy's folder"
        ) from error
    if len(raw) > most:
        raise ModelError(f"{path.name} is larger than {most} bytes", remedy="give a smaller model")
    return raw
