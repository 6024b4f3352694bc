"""The evidence folder: results that are believed only if their digest is right."""

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from redoubt.records import Place, StorageError
from redoubt.storage import write_atomically

_SECONDS = "seconds.txt"
_TIME = re.compile(r"^([0-9a-f]{64}) (\d{1,9}\.\d{3})$", re.MULTILINE)
_NAME = re.compile(r"([0-9a-f]{64})\.([0-9a-f]{64})\.safetensors")


class TaskStore:
    """Results of finished tasks, one file each: `tasks/<key>.<SHA-256 of the content>.safetensors`.

    A file is renamed into place when it is whole, and its content is checked against its name on every read, so what a
    kill or a fault of the disk leaves behind is never believed: the task is done again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "tasks"
        with _readable(self._folder):
            files = list(self._folder.iterdir()) if self._folder.is_dir() else []
            times = (
                (self._folder / _SECONDS).read_text("ascii", "replace") if (self._folder / _SECONDS).is_file() else ""
            )
        self._known = {match[1]: file for file in files if (match := _NAME.fullmatch(file.name))}
        self._seconds = {match[1]: float(match[2]) for match in _TIME.finditer(times)}

    def get(self, key: str) -> bytes | None:
        """The result under that key; None if there is none, or only a damaged one, which is then removed."""
        file = self._known.get(key)
        if file is None:
            return None
        with _readable(file):
            content = file.read_bytes() if file.is_file() else b""
            if file.name == _file_name(key, content):
                return content
            del self._known[key]
            file.unlink(missing_ok=True)
        return None

    def put(self, key: str, content: bytes, seconds: float) -> None:
        """Keep a result, and how long it took.

        Raises:
            StorageError: it cannot be written.
        """
        file = self._folder / _file_name(key, content)
        write_atomically(file, content)
        self._known[key] = file
        self._seconds[key] = seconds
        with contextlib.suppress(OSError), (self._folder / _SECONDS).open("a") as times:  # not worth losing a run for
            times.write(f"{key} {seconds:.3f}\n")

    def seconds(self, key: str) -> float:
        """How long the task took when it was done; 0 if that was not kept."""
        return self._seconds.get(key, 0.0)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot be read: {error.strerror or error}", Place(str(path)), remedy="choose another folder with --output"
        ) from error


def _file_name(key: str, content: bytes) -> str:
    return f"{key}.{hashlib.sha256(content).hexdigest()}.safetensors"
