"""safetensors: a length, a header of JSON, and the tensors' bytes without a gap.

Source: github.com/huggingface/safetensors, README "Format".  The format has no code to run; what can go wrong in it is
a header that makes its reader take too much memory, tensors that share bytes, and bytes that belong to no tensor.
"""

import json
import math
from collections.abc import Iterator
from typing import Any

from redoubt.supply.findings import Kind
from redoubt.supply.flaw import Damaged, Flaw, shown

MOST_HEADER = 100_000_000  # bytes, as the format's own reader has it
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "I16": 16,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64,
    "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


def looks_like_safetensors(raw: bytes) -> bool:
    """Whether the file begins as one: a header's length that is within the file, then JSON."""
    return len(raw) >= 10 and raw[8:9] == b"{" and int.from_bytes(raw[:8], "little") <= max(len(raw), MOST_HEADER)


def safetensors_flaws(raw: bytes) -> Iterator[Flaw]:
    """What speaks against the file; there is nothing between sound and damaged.

    Raises:
        Damaged: naming the tensor and what is wrong with it.
    """
    length = int.from_bytes(raw[:8], "little")
    if length > MOST_HEADER:
        raise Damaged("header", f"has {length} bytes; at most {MOST_HEADER} are read", Kind.BOMB)
    if 8 + length > len(raw):
        raise Damaged("header", f"has {length} bytes, and the file {len(raw)}")
    header = json_once(raw[8 : 8 + length], "header")
    if not isinstance(header, dict):
        raise Damaged("header", "is no mapping")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise Damaged("header, __metadata__", "is no mapping of text to text")
    spans = sorted((*_span(name, told), name) for name, told in header.items())
    at = 0
    for begin, end, name in spans:
        if begin != at:
            what = "shares bytes with another tensor" if begin < at else f"leaves {begin - at} bytes before it unused"
            raise Damaged(f"tensor {shown(name)}", what, Kind.DECEIVES)
        at = end
    if 8 + length + at != len(raw):
        raise Damaged("", f"has {len(raw) - 8 - length - at} bytes more than its tensors", Kind.DECEIVES)
    yield from ()


def json_once(raw: bytes, place: str) -> Any:
    """JSON in which no mapping has a key twice, since readers differ in which of the two they take.

    Raises:
        Damaged: it is no JSON, or has a key twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise Damaged(place, f"has the key '{shown(twice)}' twice", Kind.DECEIVES)
        return found

    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise Damaged(place, f"is no JSON: {shown(error)}") from None


def _span(name: str, told: object) -> tuple[int, int]:
    here = f"tensor {shown(name)}"
    if not isinstance(told, dict) or set(told) != {"dtype", "shape", "data_offsets"}:
        raise Damaged(here, "has other keys than dtype, shape and data_offsets")
    bits, shape, offsets = _BITS.get(str(told["dtype"])), told["shape"], told["data_offsets"]
    if bits is None:
        raise Damaged(here, f"is of the unknown type {shown(told['dtype'])}")
    if not _whole(shape) or not _whole(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise Damaged(here, "has no sound shape and offsets")
    if bits * math.prod(shape) != 8 * (offsets[1] - offsets[0]):
        raise Damaged(here, f"has {offsets[1] - offsets[0]} bytes for a shape of {shown(shape)}", Kind.DECEIVES)
    return offsets[0], offsets[1]


def _whole(numbers: object) -> bool:
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n < 2**63 for n in numbers) and len(numbers) <= 64
