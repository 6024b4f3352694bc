"""ONNX: a graph of operators as a protobuf message, with tensors inside it or in files beside it.

A graph runs nothing but operators, so what counts is where they come from (a domain of their own needs a library of
somebody else's), which files the tensors are read from, and whether reading or unfolding it takes more than it says.

Source: onnx/onnx.proto3, IR version 13.  Not covered: what the operators compute, which may still need much memory.
"""

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath

from redoubt.supply.findings import Kind
from redoubt.supply.flaw import Damaged, Flaw, shown
from redoubt.supply.graphs.protobuf import fields, message_of, numbers_of, text_of

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training"})
MOST_DEPTH = 64  # graphs within graphs
MOST_NODES = 2_000_000  # once all functions are unfolded
_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip
_STRING = 8
_REMEDY = "export the model with ONNX's own operators, and its tensors inside the file or in a file beside it"

Sizes = Callable[[str], int | None]
"""The size in bytes of a file beside the model; None if there is no plain file of that name."""


@dataclass
class External:
    """One tensor that lies in another file."""

    tensor: str
    location: str
    offset: int
    length: int | None
    needed: int | None


@dataclass
class _Found:
    """What a walk through the message came upon."""

    operators: dict[str, Counter[tuple[str, str]]] = field(default_factory=dict)  # by function, "" for the graph
    functions: set[tuple[str, str]] = field(default_factory=set)
    externals: list[External] = field(default_factory=list)
    flaws: list[Flaw] = field(default_factory=list)


def looks_like_onnx(raw: bytes) -> bool:
    """Whether the bytes are a message with a graph in it, and versions where ONNX has them."""
    try:
        numbers = dict(fields(memoryview(raw), ""))
    except Damaged:
        return False
    return isinstance(numbers.get(7), memoryview) and isinstance(numbers.get(1, 0), int) and bool({1, 8} & set(numbers))


def onnx_flaws(raw: bytes, sizes: Sizes) -> Iterator[Flaw]:
    """What speaks against the model.

    Args:
        raw: the model's file.
        sizes: looks up files beside it.

    Raises:
        Damaged: it is no ONNX model, or beyond the bounds.
    """
    found = walk(raw)
    yield from found.flaws
    for (domain, operator), count in _foreign(found).items():
        yield Flaw(
            Kind.CUSTOM_OPERATOR,
            f"operator {shown(domain)}.{shown(operator)}",
            f"is none of ONNX's and not defined in the file ({count} uses): to run it, a library of somebody "
            f"else's is loaded",
            _REMEDY,
        )
    yield from _unfolding(found)
    for external in found.externals:
        yield from _outside(external, sizes)


def externals_of(raw: bytes) -> list[External]:
    """The tensors that lie in other files.

    Raises:
        Damaged: it is no ONNX model.
    """
    return walk(raw).externals


def walk(raw: bytes) -> _Found:
    """Everything in the message that matters here.

    Raises:
        Damaged: it is no ONNX model, or beyond the bounds.
    """
    found, graphs = _Found(), 0
    for number, value in fields(memoryview(raw), "model"):
        if number == 7:
            graphs += 1
            _graph(message_of(value, "graph"), "graph", "", found, 0)
        elif number == 20:
            _training(message_of(value, "training_info"), found)
        elif number == 25:
            _function(message_of(value, "function"), found)
    if graphs != 1:
        raise Damaged("", f"has {graphs} graphs", Kind.DECEIVES if graphs else Kind.DAMAGED)
    return found


def _graph(raw: memoryview, place: str, owner: str, found: _Found, depth: int) -> None:
    if depth > MOST_DEPTH:
        raise Damaged(place, f"is nested more than {MOST_DEPTH} deep", Kind.BOMB)
    for number, value in fields(raw, place):
        if number == 1:
            _node(message_of(value, place), place, owner, found, depth)
        elif number == 5:
            _tensor(message_of(value, place), place, found)
        elif number == 15:
            _sparse(message_of(value, place), place, found)


def _node(raw: memoryview, place: str, owner: str, found: _Found, depth: int) -> None:
    domain = operator = ""
    attributes = []
    for number, value in fields(raw, place):
        if number == 4:
            operator = text_of(value, place)
        elif number == 7:
            domain = text_of(value, place)
        elif number == 5:
            attributes.append(message_of(value, place))
    found.operators.setdefault(owner, Counter())[domain, operator] += 1
    for attribute in attributes:
        _attribute(attribute, f"{place}, {shown(operator)}", owner, found, depth)


def _attribute(raw: memoryview, here: str, owner: str, found: _Found, depth: int) -> None:
    for number, value in fields(raw, here):
        if number in (5, 10):
            _tensor(message_of(value, here), here, found)
        elif number in (6, 11):
            _graph(message_of(value, here), here, owner, found, depth + 1)
        elif number in (22, 23):
            _sparse(message_of(value, here), here, found)


def _function(raw: memoryview, found: _Found) -> None:
    name = domain = overload = ""
    nodes, defaults = [], []
    for number, value in fields(raw, "function"):
        if number == 1:
            name = text_of(value, "function")
        elif number == 10:
            domain = text_of(value, "function")
        elif number == 13:
            overload = text_of(value, "function")
        elif number == 7:
            nodes.append(message_of(value, "function"))
        elif number == 11:  # an attribute's default, which takes its place where a call does not name it
            defaults.append(message_of(value, "function"))
    key, here = (domain, name), f"function {shown(domain)}.{shown(name)}"
    if key in found.functions and not overload:
        found.flaws.append(Flaw(Kind.DECEIVES, here, "is defined twice", _REMEDY))
    found.functions.add(key)
    owner = f"{domain}\0{name}"
    found.operators.setdefault(owner, Counter())
    for node in nodes:
        _node(node, here, owner, found, 0)
    for default in defaults:
        _attribute(default, here, owner, found, 0)


def _training(raw: memoryview, found: _Found) -> None:
    for number, value in fields(raw, "training_info"):
        if number in (1, 2):
            _graph(message_of(value, "training_info"), "training_info", "", found, 0)


def _sparse(raw: memoryview, place: str, found: _Found) -> None:
    for number, value in fields(raw, place):
        if number in (1, 2):
            _tensor(message_of(value, place), place, found)


def _tensor(raw: memoryview, place: str, found: _Found) -> None:
    name, kind, dims, location, held, inside = "", 0, list[int](), 0, dict[str, str](), None
    numbers = False
    for number, value in fields(raw, place):
        if number == 1:
            dims += numbers_of(value, place)
        elif number == 2:
            kind = value if isinstance(value, int) else 0
        elif number == 8:
            name = text_of(value, place)
        elif number == 9:
            inside = len(message_of(value, place))
        elif number == 13:
            key, said = _entry(message_of(value, place), place)
            if key in held:
                raise Damaged(place, f"says twice where a tensor lies ('{shown(key)}')", Kind.DECEIVES)
            held[key] = said
        elif number == 14:
            location = value if isinstance(value, int) else 0
        elif number in (4, 5, 6, 7, 10, 11):
            numbers = True
    here = f"tensor {shown(name)}"
    if any(n >= 2**63 for n in dims):
        raise Damaged(here, "has a negative dimension")
    bits, count = _BITS.get(kind), math.prod(dims)
    needed = -(-bits * count // 8) if bits else None
    if location == 1 or held:
        found.externals.append(_external(name, held, needed))
    elif inside is not None and needed is not None and inside != needed:
        found.flaws.append(Flaw(Kind.DECEIVES, here, f"has {inside} bytes for {needed} that its shape needs", _REMEDY))
    elif inside is None and not numbers and count and kind:
        found.flaws.append(Flaw(Kind.BOMB, here, f"speaks of {count} values and holds none", _REMEDY))


def _entry(raw: memoryview, place: str) -> tuple[str, str]:
    told = {number: text_of(value, place) for number, value in fields(raw, place)}
    return told.get(1, ""), told.get(2, "")


def _external(name: str, held: dict[str, str], needed: int | None) -> External:
    try:
        offset = int(held.get("offset", "0"))
        length = int(held["length"]) if "length" in held else None
    except ValueError:
        raise Damaged(f"tensor {shown(name)}", "has no sound place in its file") from None
    return External(name, held.get("location", ""), offset, length, needed)


def _outside(external: External, sizes: Sizes) -> Iterator[Flaw]:
    """What is wrong with where a tensor lies."""
    here, location = f"tensor {shown(external.tensor)}", external.location
    pure = PurePosixPath(location)
    if (
        not location
        or pure.is_absolute()
        or PureWindowsPath(location).drive
        or ".." in location.replace("\\", "/").split("/")
        or location.startswith("\\")
        or "\0" in location
    ):
        yield Flaw(
            Kind.LEADS_OUTSIDE,
            here,
            f"is read from '{shown(location)}', which is not beside the model: any file that its reader may open",
            _REMEDY,
        )
        return
    size = sizes(os.fspath(pure))
    if size is None:
        yield Flaw(
            Kind.LEADS_OUTSIDE,
            here,
            f"is read from '{shown(location)}', which is no plain file beside the model",
            "put the file there, or export the model as one file",
        )
        return
    length = external.length if external.length is not None else size - external.offset
    if external.offset < 0 or length < 0 or external.offset + length > size:
        yield Flaw(Kind.DAMAGED, here, f"lies beyond the end of '{shown(location)}'", _REMEDY)
    elif external.needed is not None and length != external.needed:
        yield Flaw(
            Kind.DECEIVES,
            here,
            f"has {length} bytes in '{shown(location)}' for {external.needed} that its shape needs",
            _REMEDY,
        )


def _foreign(found: _Found) -> Counter[tuple[str, str]]:
    total: Counter[tuple[str, str]] = Counter()
    for counted in found.operators.values():
        for key, count in counted.items():
            if key[0] not in DOMAINS and key not in found.functions:
                total[key] += count
    return total


def _unfolding(found: _Found) -> Iterator[Flaw]:
    """Functions that call themselves, or that unfold to too many nodes, as entities of XML do."""
    sizes: dict[str, int] = {}
    state: dict[str, int] = {}
    waiting: list[tuple[str, bool]] = [("", False)] + [(f"{d}\0{n}", False) for d, n in found.functions]
    while waiting:
        owner, done = waiting.pop()
        calls = found.operators.get(owner, Counter())
        inner = {f"{d}\0{n}": count for (d, n), count in calls.items() if (d, n) in found.functions}
        if done:
            own = sum(calls.values()) - sum(inner.values())
            sizes[owner] = min(own + sum(count * sizes.get(name, 1) for name, count in inner.items()), 2**62)
            state[owner] = 2
            continue
        if state.get(owner) == 2:
            continue
        if state.get(owner) == 1:
            yield Flaw(Kind.BOMB, f"function {shown(owner.replace(chr(0), '.'))}", "calls itself", _REMEDY)
            return
        state[owner] = 1
        waiting.append((owner, True))
        for name in inner:
            if state.get(name) == 1:
                yield Flaw(Kind.BOMB, f"function {shown(name.replace(chr(0), '.'))}", "calls itself", _REMEDY)
                return
            waiting.append((name, False))
    if sizes.get("", 0) > MOST_NODES:
        yield Flaw(Kind.BOMB, "functions", f"unfold to {sizes['']} nodes; at most {MOST_NODES} are read", _REMEDY)
