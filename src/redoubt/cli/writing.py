"""Writing a small text file whole or not at all."""

import errno
import os
import tempfile
from pathlib import Path

from redoubt.records import PolicyError, StorageError

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def write_text(path: Path, text: str, *, replace: bool) -> None:
    """Write UTF-8 text; readers see the old file or the whole new one, also after a crash.

    Args:
        path: where to.
        text: what.
        replace: whether a file that is there already may be replaced.

    Raises:
        PolicyError: the file is there already, and `replace` is false.
        StorageError: the disk or folder does not take it; nothing is left behind.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
    except OSError as error:
        raise _cannot(path, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        _publish(temporary, path, replace)
    except OSError as error:
        raise _cannot(path, error) from error
    finally:
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


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _cannot(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot write {path}: {error.strerror or error}", remedy="see that the folder exists and has room"
    )
