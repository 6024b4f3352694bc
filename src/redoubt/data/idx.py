"""The IDX format of MNIST and its relatives: files `…-images-idx3-ubyte` and `…-labels-idx1-ubyte`, plain or gzip."""

import gzip
import math
import zlib
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from redoubt.data.raw import MAX_BYTES, Raw, in_file, unreadable
from redoubt.records import DataError, Place

_UBYTE = 0x08
_PREFIXES = {"train": "train", "test": "t10k"}


class Stream(Protocol):
    """Anything that reads bytes."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


def read_idx(folder: Path, part: str) -> Raw:
    """Images and labels of one part, `train` or `test`, of a folder.

    Raises:
        DataError: a file is missing, damaged or not in IDX.
    """
    prefix = _PREFIXES[part]
    images, labels = _pick(folder, f"{prefix}-images-idx3-ubyte"), _pick(folder, f"{prefix}-labels-idx1-ubyte")
    return in_file(_read(images, 3), _read(labels, 1), (0.0, 255.0), Place(str(images)))


def parse_idx(stream: Stream, rank: int) -> NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX stream: magic `00 00 08 rank`, `rank` big-endian sizes, the bytes.

    >>> import io
    >>> parse_idx(io.BytesIO(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])), 1)
    array([7, 9], dtype=uint8)

    Raises:
        DataError: another magic number or rank, sizes beyond the limit, bytes missing or left over.
    """
    magic = _exactly(stream, 4, "the magic number")
    if magic[:2] != b"\0\0" or magic[2] != _UBYTE or magic[3] != rank:
        raise DataError(
            f"begins with {magic.hex(' ')}; an IDX file of unsigned bytes with {rank} axes begins with "
            f"00 00 08 {rank:02x}",
            remedy="give the original files, images and labels not mixed up",
        )
    header = _exactly(stream, 4 * rank, "the sizes")
    shape = [int.from_bytes(header[i : i + 4], "big") for i in range(0, 4 * rank, 4)]
    count = math.prod(shape)
    if count > MAX_BYTES:
        raise DataError(f"claims to hold {shape} bytes, more than {MAX_BYTES}", remedy="give a smaller file")
    body = _exactly(stream, count, f"{shape} bytes")
    if stream.read(1):
        raise DataError(f"goes on after its {shape} bytes", remedy="fetch the file again")
    return np.frombuffer(body, np.uint8).reshape(shape)


def _exactly(stream: Stream, count: int, what: str) -> bytearray:
    got = bytearray()
    while len(got) < count:
        # In pieces: a header may claim far more than the file holds.
        piece = stream.read(min(count - len(got), 2**20))
        if not piece:
            raise DataError(f"ends within {what} ({len(got)} of {count} bytes)", remedy="fetch the file again")
        got += piece
    return got


def _pick(folder: Path, name: str) -> Path:
    plain, packed = folder / name, folder / f"{name}.gz"
    if plain.is_file() or not packed.is_file():
        return plain
    return packed


def _read(path: Path, rank: int) -> NDArray[np.uint8]:
    try:
        with path.open("rb") as file:
            head = file.read(2)
            file.seek(0)
            stream: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=file) if head == b"\x1f\x8b" else file
            return parse_idx(stream, rank)
    except DataError as error:
        raise DataError(error.what, Place(str(path)), remedy=error.remedy) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"is a damaged gzip file: {error}", Place(str(path)), remedy="fetch the file again") from error
    except OSError as error:
        raise unreadable(path, error) from error
