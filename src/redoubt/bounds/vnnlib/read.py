"""VNN-LIB, the format of the verification competition (VNN-COMP), version 1: a property as a set of cases.

Inputs are X_0, X_1, …, outputs Y_0, Y_1, …, each declared as a Real.  The assertions together describe the inputs and
outputs that break the property.  They may be nested in `and` and `or`; each input has a lower and an upper bound in
each alternative, and conditions on outputs are linear.  Conditions that tie inputs to each other or to outputs are
refused, as are strict inequalities and everything else that SMT-LIB has.
"""

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from redoubt.bounds.complete.cases import Case
from redoubt.bounds.relaxed.region import Region
from redoubt.bounds.vnnlib.linear import Alternatives, Inequality, alternatives, conjunction
from redoubt.bounds.vnnlib.tokens import MAX_BYTES, Group, Word, parse
from redoubt.records import Place, PolicyError

MAX_VARIABLES = 1_000_000
_VARIABLE = re.compile(r"([XY])_(0|[1-9]\d{0,6})")
_SKIPPED = ("set-logic", "set-info", "set-option", "check-sat", "exit")


@dataclass(frozen=True)
class Alternative:
    """One way to break the property, in exact numbers.

    Attributes:
        lower: of each input.
        upper: of each input.
        outputs: conditions on outputs, at least one.
    """

    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]
    outputs: tuple[Inequality, ...]


@dataclass(frozen=True)
class Property:
    """What a file says.

    Attributes:
        inputs: number of inputs.
        outputs: number of outputs.
        alternatives: at least one; an input and its output that meet one of them break the property.
    """

    inputs: int
    outputs: int
    alternatives: tuple[Alternative, ...]

    def cases(self) -> tuple[Case, ...]:
        """As `prove` takes them.  Numbers that float64 does not have are rounded so that the cases only grow."""
        return tuple(_case(each, self.outputs) for each in self.alternatives)

    def met(self, x: Tensor, y: Tensor) -> bool:
        """Whether an input `[n]` and its output `[m]` break the property, computed in exact numbers."""
        if not bool(x.isfinite().all() and y.isfinite().all()):
            return False
        xs, ys = [Fraction(v) for v in x.tolist()], [Fraction(v) for v in y.tolist()]
        return any(
            all(low <= v <= high for low, v, high in zip(each.lower, xs, each.upper, strict=True))
            and all(
                sum(factor * ys[int(name[2:])] for name, factor in one.terms.items()) <= one.limit
                for one in each.outputs
            )
            for each in self.alternatives
        )


def read_vnnlib(path: Path) -> Property:
    """The property in a file.

    Raises:
        PolicyError: no such file, larger than 64 MiB, not text, or not such a property; with the line.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PolicyError(f"cannot read {path}: {error.strerror or error}", remedy="name a .vnnlib file") from error
    if len(raw) > MAX_BYTES:
        raise PolicyError(f"{path.name} is larger than {MAX_BYTES} bytes", remedy="cut the property into several files")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise PolicyError("is not text in UTF-8", Place(path.name, line), remedy="unpack it first") from error
    return property_of(text, path.name)


def property_of(text: str, name: str) -> Property:
    """The property in a text; `name` is the file's, for messages.

    Raises:
        PolicyError: see `read_vnnlib`.
    """
    known: dict[str, int] = {}
    asserted: list[Alternatives] = []
    for node in parse(text, name):
        head = node.head if isinstance(node, Group) else node.text
        if not isinstance(node, Group) or head not in ("declare-const", "assert", *_SKIPPED):
            raise PolicyError(
                f"unknown statement '{head}'",
                Place(name, node.line),
                remedy="the format knows (declare-const X_i Real), (declare-const Y_j Real) and (assert ...)",
            )
        if head == "declare-const":
            _declare(node, known, name)
        elif head == "assert":
            if len(node.items) != 2:
                raise PolicyError("(assert ...) holds one condition", Place(name, node.line))
            asserted.append(alternatives(node.items[1], frozenset(known), name))
    counts = [_count(known, letter, name) for letter in "XY"]
    if not asserted:
        raise PolicyError("nothing is asserted", Place(name), remedy="add (assert ...) for what breaks the property")
    found = [_alternative(one, counts[0], name) for one in conjunction(asserted, 0, name)]
    kept = tuple(each for each in found if each is not None)
    if not kept:
        raise PolicyError(
            "no input meets the conditions on X, so nothing would be shown",
            Place(name),
            remedy="look for a lower bound above its upper bound",
        )
    return Property(counts[0], counts[1], kept)


def _declare(node: Group, known: dict[str, int], name: str) -> None:
    words = [item.text for item in node.items[1:] if isinstance(item, Word)]
    where = Place(name, node.line)
    if len(words) != 2 or len(node.items) != 3 or words[1] != "Real":
        raise PolicyError("expected (declare-const X_0 Real)", where)
    if not _VARIABLE.fullmatch(words[0]):
        raise PolicyError(f"'{words[0]}' is no variable of the format", where, remedy="inputs are X_i, outputs Y_j")
    if words[0] in known:
        raise PolicyError(f"{words[0]} is declared twice", where)
    if len(known) >= MAX_VARIABLES:
        raise PolicyError(f"more than {MAX_VARIABLES} variables", where)
    known[words[0]] = node.line


def _count(known: dict[str, int], letter: str, name: str) -> int:
    numbers = sorted(int(variable[2:]) for variable in known if variable[0] == letter)
    if not numbers:
        kind = "input X_0" if letter == "X" else "output Y_0"
        raise PolicyError(f"no {kind} is declared", Place(name), remedy="a property is about inputs and outputs")
    for expected, number in enumerate(numbers):
        if number != expected:
            raise PolicyError(
                f"{letter}_{expected} is not declared, but {letter}_{number} is",
                Place(name, known[f"{letter}_{number}"]),
            )
    return len(numbers)


def _alternative(conditions: tuple[Inequality, ...], inputs: int, name: str) -> Alternative | None:
    """None if no input meets it."""
    lower: list[Fraction | None] = [None] * inputs
    upper: list[Fraction | None] = [None] * inputs
    outputs: list[Inequality] = []
    for one in conditions:
        letters = {variable[0] for variable in one.terms}
        if letters == {"Y"}:
            outputs.append(one)
            continue
        if len(one.terms) > 1:
            what = "ties inputs to outputs" if len(letters) > 1 else "ties several inputs together"
            raise PolicyError(f"a condition that {what}", Place(name, one.line), remedy="inputs are bounded one by one")
        ((variable, factor),) = one.terms.items()
        at, bound = int(variable[2:]), one.limit / factor
        if factor > 0:
            upper[at] = bound if upper[at] is None else min(bound, upper[at])  # type: ignore[type-var]
        else:
            lower[at] = bound if lower[at] is None else max(bound, lower[at])  # type: ignore[type-var]
    low, high = [v for v in lower if v is not None], [v for v in upper if v is not None]
    for side, bounds, count in (("lower", lower, len(low)), ("upper", upper, len(high))):
        if count < inputs:
            raise PolicyError(f"X_{bounds.index(None)} has no {side} bound", Place(name), remedy="bound every input")
    if not outputs:
        raise PolicyError("nothing is said of the outputs", Place(name), remedy="add a condition on a Y_j")
    empty = any(a > b for a, b in zip(low, high, strict=True))
    return None if empty else Alternative(tuple(low), tuple(high), tuple(outputs))


def _case(each: Alternative, outputs: int) -> Case:
    rows = torch.zeros(len(each.outputs), outputs, dtype=torch.float64)
    limits = []
    for at, one in enumerate(each.outputs):
        scale = math.lcm(*(factor.denominator for factor in one.terms.values()))
        for variable, factor in one.terms.items():
            whole = float(factor * scale)
            if Fraction(whole) != factor * scale:  # more digits than float64 has: the condition as written is another
                raise PolicyError(f"{variable} has a coefficient of more digits than float64", Place("", one.line))
            rows[at, int(variable[2:])] = whole
        limits.append(_at_least(one.limit * scale))
    region = Region(
        -torch.tensor([[_at_least(-v) for v in each.lower]], dtype=torch.float64),
        torch.tensor([[_at_least(v) for v in each.upper]], dtype=torch.float64),
    )
    return Case(region, rows, torch.tensor(limits, dtype=torch.float64))


def _at_least(value: Fraction) -> float:
    """The least float64 that is not below the value."""
    try:
        near = float(value)
    except OverflowError:
        return math.copysign(math.inf, value)
    return near if Fraction(near) >= value else math.nextafter(near, math.inf)
