"""Files are written whole, or not at all."""

import errno
import os
import tempfile
from pathlib import Path

from redoubt.records import Place, PolicyError, StorageError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def write_atomically(path: Path, content: bytes, *, replace: bool = True) -> None:
    """Write a file, and its folder if need be.

    Readers see the old file or the whole new one, also after a crash; it is on stable storage before this returns, and
    has the permissions of an ordinary new file.

    Args:
        path: where to.
        content: what.
        replace: whether a file that is there already may be replaced.

    Raises:
        PolicyError: the file is there already, and `replace` is false.
        StorageError: the disk is full, or the folder cannot be written to; nothing half-written stays.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        _publish(temporary, path, replace)
        _sync_folder(path.parent)
    except OSError as error:
        full = error.errno in _FULL
        raise StorageError(
            f"cannot write {len(content)} bytes: {'the disk is full' if full else error.strerror or error}",
            Place(str(path)),
            remedy="free some space, or choose another folder with --output; what is finished is kept"
            if full
            else "choose a place that can be written to with --output",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _publish(temporary: Path, path: Path, replace: bool) -> None:
    if replace:
        temporary.replace(path)
        return
    try:
        path.hardlink_to(temporary)  # unlike a rename, fails if somebody has just made the file
    except FileExistsError as error:
        raise PolicyError(f"{path} exists already", remedy="give another --output, or --force to replace it") from error
    except OSError as error:
        if error.errno not in _NO_LINKS or path.exists():
            raise
        temporary.replace(path)


def _sync_folder(folder: Path) -> None:
    """Make the new name last, not only the bytes."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
