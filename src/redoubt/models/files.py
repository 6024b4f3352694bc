"""What a file is by its first bytes, and digests over parts."""

import hashlib
from pathlib import Path

from redoubt.records import ModelError

_MAGIC = (
    (b"PK\x03\x04", "a zip archive, as torch.save writes it, with a pickle inside"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"(dp", "a pickle"),
    (b"(lp", "a pickle"),
    (b"ccopy_reg", "a pickle"),
    (b"c__builtin__", "a pickle"),
)


def read_head(path: Path) -> bytes:
    """The file's first 16 bytes, by which `foreign_kind` tells it.

    Raises:
        ModelError: there is no such file, or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}", remedy="name a model file") from error


def foreign_kind(head: bytes) -> str | None:
    r"""What a file that begins with `head` is, if it is one of the kinds people mistake for safetensors.

    >>> foreign_kind(b"\x80\x04\x95")
    'a pickle'
    """
    if head[8:9] == b"{":  # a safetensors header: its length, which may look like any magic number, then JSON
        return None
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return "a pickle"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


def sha256(*parts: bytes) -> str:
    """`sha256:<hex>` over the parts, each with its length before it."""
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return f"sha256:{state.hexdigest()}"
