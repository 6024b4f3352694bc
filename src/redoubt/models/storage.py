"""Files are written whole, or not at all."""

import errno
import os
import tempfile
from pathlib import Path

from redoubt.records import Place, StorageError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and onto stable storage before returning.

    Raises:
        StorageError: the disk is full, or the folder cannot be written to; nothing half-written stays.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
        temporary = None
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise StorageError(
            f"cannot write {len(content)} bytes: {'the disk is full' if full else error.strerror}",
            Place(str(path)),
            remedy="free some space, or choose another folder with --output; what is finished is kept"
            if full
            else "choose a folder that can be written to with --output",
        ) from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
