"""Whole files made of pickles: one alone, joblib's with arrays in between, torch's old form with storages behind."""

import bz2
import lzma
import math
import zlib
from collections.abc import Iterator
from typing import Protocol

from redoubt.supply.findings import Kind
from redoubt.supply.flaw import Damaged, Flaw
from redoubt.supply.pickles.machine import Followed, Stop
from redoubt.supply.pickles.names import dtype_code
from redoubt.supply.pickles.opcodes import follow
from redoubt.supply.pickles.values import Made, Map, Name, Row, Stored, Value

MAGIC_TORCH = 0x1950A86A20F9469CFC6C  # torch/serialization.py, MAGIC_NUMBER
MOST_UNPACKED = 4 * 2**30  # bytes
_WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")
_SIZES = {
    "Double": 8, "Float": 4, "Half": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
    "BFloat16": 2, "ComplexDouble": 16, "ComplexFloat": 8,
}  # fmt: skip
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"]\x00\x00": "lzma", b"\x78": "zlib"}


def pickle_flaws(raw: bytes, start: int = 0) -> Iterator[Flaw]:
    """What speaks against a file that is one pickle, with or without joblib's arrays in it.

    Raises:
        Damaged: it is no pickle, or bytes stand behind it.
    """
    try:
        done = follow_joblib(raw, start)
        if done.end != len(raw):
            yield from _behind(raw, done)
    except Stop as stop:
        yield stop.flaw


def follow_joblib(raw: bytes, start: int = 0) -> Followed:
    """As `follow`, past the bytes of arrays that joblib puts after their wrappers.

    Raises:
        Stop, Damaged: as `follow`.
    """
    return follow(raw, start, after_build=_past_array)


def unpacked(raw: bytes) -> tuple[str, bytes]:
    """How a file is compressed, as joblib does it, and what is inside.

    Raises:
        Damaged: it is not so compressed, is cut short, has bytes behind, or unpacks to more than 4 GiB.
    """
    packing = next((name for magic, name in _PACKED.items() if raw.startswith(magic)), None)
    if packing is None:
        raise Damaged("", "is not compressed in a known way", Kind.UNKNOWN_FORMAT)
    machine = _unpacker(packing)
    try:
        content = machine.decompress(raw, MOST_UNPACKED)
    except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError) as error:
        raise Damaged("", f"cannot be unpacked ({packing}): {error}") from None
    if not machine.eof:
        if len(content) >= MOST_UNPACKED:
            raise Damaged("", f"unpacks to more than {MOST_UNPACKED} bytes", Kind.BOMB)
        raise Damaged("", f"is cut short ({packing})")
    if machine.unused_data:
        raise Damaged("", "has bytes behind its compressed part", Kind.DECEIVES)
    return packing, content


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, most: int, /) -> bytes: ...


def _unpacker(packing: str) -> _Unpacker:
    if packing == "bzip2":
        return bz2.BZ2Decompressor()
    if packing in ("xz", "lzma"):
        return lzma.LZMADecompressor(memlimit=2**30)
    return zlib.decompressobj(31 if packing == "gzip" else 15)


def _behind(raw: bytes, done: Followed) -> Iterator[Flaw]:
    """More pickles behind the first are followed too, to say what they would do."""
    try:
        follow_joblib(raw, done.end)
    except Stop as stop:
        yield stop.flaw
    except Damaged:
        pass
    yield Flaw(
        Kind.DECEIVES,
        f"byte {done.end}",
        f"{len(raw) - done.end} bytes stand behind the pickle's end",
        "write the file again, with one object in it",
    )


def _past_array(raw: bytes, at: int, built: Made) -> int:
    """Where the pickle goes on after the bytes of an array (joblib/numpy_pickle.py, `NumpyArrayWrapper.read_array`)."""
    if built.key != _WRAPPER:
        return at
    state, here = built.state, f"byte {at}"
    if not isinstance(state, Map):
        raise Damaged(here, "an array of joblib has no description")
    code, shape, subclass = dtype_code(state.get("dtype")), state.get("shape"), state.get("subclass")
    if (
        not isinstance(subclass, Name)
        or subclass.name not in ("ndarray", "memmap")
        or subclass.module.split(".")[0] != "numpy"
    ):
        raise Damaged(here, "an array of joblib is of a class of its own", Kind.UNKNOWN_NAME)
    if code == "O":
        return follow_joblib(raw, at).end  # objects: a pickle in the pickle, held to the same list
    size = _itemsize(code)
    if size is None or not isinstance(shape, Row) or not all(type(n) is int and n >= 0 for n in shape.items):
        raise Damaged(here, "an array of joblib has no plain type and shape")
    count = math.prod(n for n in shape.items if isinstance(n, int))
    alignment = state.get("numpy_array_alignment_bytes")
    if isinstance(alignment, int) and alignment:
        if at >= len(raw) or not 0 < alignment <= 256:
            raise Damaged(here, "an array of joblib is cut short")
        at += 1 + raw[at]
    if count * size > len(raw) - at:
        raise Damaged(here, f"an array of joblib speaks of {count * size} bytes that are not there", Kind.BOMB)
    return at + count * size


def _itemsize(code: str | None) -> int | None:
    """Bytes of one value of a NumPy type code without its byte order: `f8` has 8, `U3` has 12."""
    if code is None:
        return None
    plain = code.lstrip("<>|=")
    kind, digits = plain[:1], plain[1:]
    if kind not in "biufcSUVmM?" or (digits and not digits.isdigit()) or len(digits) > 9:
        return None
    if kind == "?":
        return 1
    return int(digits or 0) * (4 if kind == "U" else 1)


def legacy_torch_flaws(raw: bytes) -> Iterator[Flaw]:
    """What speaks against a file of `torch.save` in its form before 1.6: five pickles, then the storages' bytes.

    Raises:
        Damaged: it is not of that form, or its length is not the one that its storages have together.
    """
    try:
        at, last, ids = 0, None, {}
        for index in range(5):
            done = follow(raw, at)
            at, last = done.end, done.value
            if index == 3:
                ids = _storages(done)
        keys = last.items if isinstance(last, Row) else []
        if sorted(map(str, keys)) != sorted(ids):
            yield Flaw(Kind.DECEIVES, "", "names other storages than its tensors use", "save it again with safetensors")
            return
        for key in keys:
            name = str(key)
            count = int.from_bytes(raw[at : at + 8], "little", signed=True)
            if count < 0 or count != ids[name][1]:
                raise Damaged(f"storage {name}", "has another length than its tensors say")
            at += 8 + count * ids[name][0]
        if at != len(raw):
            raise Damaged(f"byte {at}", "is where its storages end, and not the file", Kind.DECEIVES)
    except Stop as stop:
        yield stop.flaw


def _storages(done: Followed) -> dict[str, tuple[int, int]]:
    """Of each storage that is referred to: bytes of an element, and elements."""
    found: dict[str, tuple[int, int]] = {}
    for stored in _all_stored(done.value):
        items = stored.id.items if isinstance(stored.id, Row) else []
        if len(items) < 5 or items[0] != "storage" or not isinstance(items[1], Name) or type(items[4]) is not int:
            raise Damaged("", "refers to something else than storages")
        size = _SIZES.get(items[1].name.removesuffix("Storage"))
        if size is None:
            raise Damaged("", f"has a storage of {items[1]}, of unknown size")
        found[str(items[2])] = (size, items[4])
    return found


def _all_stored(root: Value) -> Iterator[Stored]:
    waiting, seen = [root], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Stored):
            yield value
        elif isinstance(value, Row):
            waiting.extend(value.items)
        elif isinstance(value, Map):
            waiting.extend(part for pair in value.pairs for part in pair)
        elif isinstance(value, Made):
            waiting.extend([*value.args, value.state, *value.filled])
