"""NumPy's .npy and .npz: a short header, then the array's bytes, unless they are objects, which are a pickle.

Source: numpy/lib/format.py (NEP 1), versions 1.0 to 3.0.
"""

import ast
import math
from collections.abc import Iterator

from redoubt.supply.archives.zips import Zip
from redoubt.supply.findings import Kind
from redoubt.supply.flaw import Damaged, Flaw, shown
from redoubt.supply.pickles.streams import pickle_flaws

MAGIC = b"\x93NUMPY"
MOST_HEADER = 10_000  # bytes, as numpy.load itself bounds it: what parses the header is not made for more
_REMEDY = "do not load it with allow_pickle; ask for numbers or fixed-width text in place of objects"


def npy_flaws(raw: bytes, place: str = "") -> Iterator[Flaw]:
    """What speaks against one array.

    Raises:
        Damaged: it is no .npy file, or not as long as its header says.
    """
    if raw[:6] != MAGIC or len(raw) < 10:
        raise Damaged(place, "does not begin as a NumPy array")
    version = raw[6]
    if version not in (1, 2, 3) or raw[7]:
        raise Damaged(place, f"is of version {version}.{raw[7]} of the format", Kind.UNKNOWN_FORMAT)
    width = 2 if version == 1 else 4
    length = int.from_bytes(raw[8 : 8 + width], "little")
    start = 8 + width + length
    if length > MOST_HEADER:
        raise Damaged(place, f"has a header of {length} bytes; at most {MOST_HEADER} are read", Kind.BOMB)
    if start > len(raw):
        raise Damaged(place, "ends within its header")
    descr, shape = _header(raw[8 + width : start], place)
    size = _itemsize(descr, place)
    if size is None:
        yield Flaw(Kind.RUNS_CODE, place, "holds objects, which are a pickle: reading it can run any code", _REMEDY)
        for flaw in pickle_flaws(raw, start):
            yield flaw._replace(place=", ".join(filter(None, (place, flaw.place))))
    elif size * math.prod(shape) != len(raw) - start:
        raise Damaged(place, f"has {len(raw) - start} bytes for an array of {size * math.prod(shape)}", Kind.DECEIVES)


def npz_flaws(archive: Zip) -> Iterator[Flaw]:
    """What speaks against an archive of arrays.

    Raises:
        Damaged: a member cannot be read.
    """
    for member in archive.members:
        if not member.name.endswith(".npy"):
            yield Flaw(
                Kind.UNKNOWN_FORMAT, shown(member.name), "is not an array, and numpy.savez writes no other", "remove it"
            )
            continue
        yield from npy_flaws(archive.unpack(member), shown(member.name))


def _header(raw: bytes, place: str) -> tuple[object, tuple[int, ...]]:
    try:
        told = ast.literal_eval(raw.decode("utf-8").strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, UnicodeDecodeError):
        raise Damaged(place, "has a header that is no dictionary of literals") from None
    if not isinstance(told, dict) or set(told) != {"descr", "fortran_order", "shape"}:
        raise Damaged(place, "has a header with other keys than descr, fortran_order and shape")
    shape = told["shape"]
    if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 2**63 for n in shape) or len(shape) > 64:
        raise Damaged(place, "has a shape that is none")
    return told["descr"], shape


def _itemsize(descr: object, place: str, depth: int = 0) -> int | None:
    """Bytes of one element; None if it is, or holds, objects."""
    if isinstance(descr, str):
        code = descr.lstrip("<>|=")
        kind, digits = code[:1], code[1:].partition("[")[0]
        if kind == "O":
            return None
        if kind in "biufcSUVmM" and digits.isdigit() and len(digits) < 10:
            return int(digits) * (4 if kind == "U" else 1)
    if isinstance(descr, list) and descr and depth < 8:
        sizes = []
        for field in descr:
            if not isinstance(field, tuple) or len(field) not in (2, 3):
                raise Damaged(place, "has a field that is none")
            size = _itemsize(field[1], place, depth + 1)
            if size is None:
                return None
            count = field[2] if len(field) == 3 else ()
            count = count if isinstance(count, tuple) else (count,)
            if not all(type(n) is int and 0 <= n < 2**31 for n in count):
                raise Damaged(place, "has a field of no shape")
            sizes.append(size * math.prod(count))
        return sum(sizes)
    raise Damaged(place, f"has elements of a type that is not read: {shown(descr)}", Kind.UNKNOWN_FORMAT)
