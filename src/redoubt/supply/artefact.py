"""What an unknown author wrote: a file's bytes, opened once, bounded, and a plain file; the files of a folder."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from redoubt.records import ModelError

MOST_BYTES = 16 * 2**30
MOST_FILES = 100_000


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


def files_below(root: Path) -> Iterator[tuple[Path, str]]:
    """All that lies below a folder and is no folder, links included and not followed; and its name from there.

    Raises:
        ModelError: a folder cannot be read, or there are more than `MOST_FILES`.
    """
    waiting, count = [root], 0
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            raise ModelError(f"cannot read {folder}: {error.strerror or error}", remedy="name a folder") from error
        for entry in entries:
            count += 1
            if count > MOST_FILES:
                raise ModelError(f"{root} has more than {MOST_FILES} files", remedy="name a smaller folder")
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            else:
                yield path, path.relative_to(root).as_posix()
