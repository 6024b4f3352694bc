"""What each opcode of a pickle does to the machine, and the way in: `follow`.

Source: CPython 3.13, Lib/pickletools.py.
"""

import struct
from collections.abc import Callable

from redoubt.supply.pickles.machine import Followed, Machine
from redoubt.supply.pickles.values import Made, Map

REFUSED = {
    0x69: "uses INST, an import and a call in one, as no current pickle does",
    0x6F: "uses OBJ, a call as no current pickle makes it",
    0x82: "uses an extension code, which stands for an import",
    0x83: "uses an extension code, which stands for an import",
    0x84: "uses an extension code, which stands for an import",
    0x50: "uses a persistent id in text, as no current format does",
    0x97: "takes buffers that are not in the file",
    0x98: "takes buffers that are not in the file",
}
STEPS: dict[int, Callable[[Machine], None]] = {
    0x28: Machine.mark,
    0x30: Machine.pop,
    0x31: Machine.pop_mark,
    0x32: Machine.dup,
    0x46: Machine.real,
    0x49: Machine.decimal,
    0x4C: Machine.decimal,
    0x4A: lambda m: m.push(m.number("<i")),
    0x4B: lambda m: m.push(m.number("<B")),
    0x4D: lambda m: m.push(m.number("<H")),
    0x4E: lambda m: m.push(None),
    0x51: Machine.persistent,
    0x52: Machine.reduce,
    0x53: Machine.quoted,
    0x54: lambda m: m.latin("<i"),
    0x55: lambda m: m.latin("<B"),
    0x56: Machine.raw_text,
    0x58: lambda m: m.text("<I"),
    0x61: lambda m: m.append([m.take_top()]),
    0x62: Machine.build,
    0x63: Machine.name,
    0x64: lambda m: m.push(Map(m.pairs(m.to_mark()))),
    0x65: lambda m: m.append(m.to_mark()),
    0x67: lambda m: m.indexed(m.get),
    0x68: lambda m: m.get(m.number("<B")),
    0x6A: lambda m: m.get(m.number("<I")),
    0x6C: lambda m: m.row("list", m.to_mark()),
    0x70: lambda m: m.indexed(m.put),
    0x71: lambda m: m.put(m.number("<B")),
    0x72: lambda m: m.put(m.number("<I")),
    0x73: lambda m: m.set_items([m.take_top(), m.take_top()][::-1]),
    0x74: lambda m: m.row("tuple", m.to_mark()),
    0x75: lambda m: m.set_items(m.to_mark()),
    0x5D: lambda m: m.row("list", []),
    0x7D: lambda m: m.push(Map()),
    0x29: lambda m: m.row("tuple", []),
    0x47: lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    0x42: lambda m: m.data("<I"),
    0x43: lambda m: m.data("<B"),
    0x80: Machine.protocol,
    0x81: Machine.new,
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    0x8A: lambda m: m.long("<B"),
    0x8B: lambda m: m.long("<i"),
    0x8C: lambda m: m.text("<B"),
    0x8D: lambda m: m.text("<Q"),
    0x8E: lambda m: m.data("<Q"),
    0x8F: lambda m: m.row("set", []),
    0x90: lambda m: m.append(m.to_mark()),
    0x91: lambda m: m.row("frozenset", m.to_mark()),
    0x92: lambda m: m.new(keywords=True),
    0x93: Machine.stack_name,
    0x94: lambda m: m.put(len(m.memo)),
    0x95: Machine.frame,
    0x96: lambda m: m.data("<Q"),
}


def follow(raw: bytes, start: int = 0, after_build: Callable[[bytes, int, Made], int] | None = None) -> Followed:
    """Follow one pickle to its STOP.

    Args:
        raw: the bytes that hold it.
        start: where it begins.
        after_build: for formats that put bytes of their own into the stream after an object: given the bytes, the place
            after a BUILD and what was built, it returns the place where the pickle goes on.

    Raises:
        Stop: it imports or calls what is not allowed.
        Damaged: it is no pickle, or beyond the bounds.
    """
    return Machine(raw, start, STEPS, REFUSED, after_build).run()
