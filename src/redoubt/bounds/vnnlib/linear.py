"""Conditions of a VNN-LIB file as linear inequalities in exact numbers, and in alternatives."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import TypeAlias

from redoubt.bounds.vnnlib.tokens import Group, Node, Word
from redoubt.records import Place, PolicyError

MAX_ALTERNATIVES = 20_000
MAX_CONDITIONS = 4_000_000
_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,3})?")


@dataclass(frozen=True)
class Inequality:
    """Sum of coefficient * variable <= limit.

    Attributes:
        terms: coefficient by variable, none of them 0.
        limit: the right side.
        line: where it stands.
    """

    terms: Mapping[str, Fraction]
    limit: Fraction
    line: int


Alternatives: TypeAlias = list[tuple[Inequality, ...]]
"""At least one of them holds, each a conjunction: a formula in disjunctive normal form."""


def alternatives(node: Node, known: frozenset[str], name: str) -> Alternatives:
    """A formula of `and`, `or`, `<=`, `>=` in disjunctive normal form.

    Raises:
        PolicyError: with the line: another operator, an undeclared variable, what is not linear, too many alternatives.
    """
    if not isinstance(node, Group) or not node.items:
        raise PolicyError("expected a condition such as (<= X_0 1.0)", Place(name, node.line))
    parts = node.items[1:]
    if node.head in ("<=", ">="):
        if len(parts) != 2:
            raise PolicyError(f"({node.head} ...) compares {len(parts)} terms; expected two", Place(name, node.line))
        small, large = parts if node.head == "<=" else parts[::-1]
        return [(_inequality(_linear(small, known, name), _linear(large, known, name), node, name),)]
    if node.head in ("and", "or"):
        if not parts:
            raise PolicyError(f"({node.head}) of nothing", Place(name, node.line))
        each = [alternatives(part, known, name) for part in parts]
        return [one for part in each for one in part] if node.head == "or" else conjunction(each, node.line, name)
    raise PolicyError(
        f"unknown condition '{node.head or '('}'", Place(name, node.line), remedy="the format knows and, or, <=, >="
    )


def conjunction(each: list[Alternatives], line: int, name: str) -> Alternatives:
    """All of several formulas at once.

    Raises:
        PolicyError: there would be too many alternatives.
    """
    count, size = 1, 0
    for part in each:
        count *= len(part)
        size = size * len(part) + sum(map(len, part)) * (count // max(len(part), 1))
        if count > MAX_ALTERNATIVES or size > MAX_CONDITIONS:
            raise PolicyError(
                f"more than {MAX_ALTERNATIVES} alternatives, or {MAX_CONDITIONS} conditions in them",
                Place(name, line),
                remedy="cut the property into several files",
            )
    fixed = tuple(one for part in each if len(part) == 1 for one in part[0])
    choices = [part for part in each if len(part) > 1]
    return [(*fixed, *(one for part in picked for one in part)) for picked in product(*choices)]


_Linear: TypeAlias = tuple[dict[str, Fraction], Fraction]


def _inequality(small: _Linear, large: _Linear, node: Group, name: str) -> Inequality:
    terms = dict(small[0])
    for variable, factor in large[0].items():
        terms[variable] = terms.get(variable, Fraction(0)) - factor
    terms = {variable: factor for variable, factor in terms.items() if factor}
    if not terms:
        raise PolicyError("a condition over no variable", Place(name, node.line), remedy="compare an X_i or a Y_j")
    return Inequality(terms, large[1] - small[1], node.line)


def _linear(node: Node, known: frozenset[str], name: str) -> _Linear:
    where = Place(name, node.line)
    if isinstance(node, Word):
        if node.text in known:
            return {node.text: Fraction(1)}, Fraction(0)
        if _NUMBER.fullmatch(node.text):
            return {}, Fraction(node.text)
        raise PolicyError(f"'{node.text}' is no number and no declared variable", where)
    parts = [_linear(part, known, name) for part in node.items[1:]]
    if node.head in ("+", "-") and parts:
        if node.head == "-" and len(parts) == 1:
            return _times(parts[0], Fraction(-1))
        total = parts[0]
        for part in parts[1:]:
            total = _plus(total, part if node.head == "+" else _times(part, Fraction(-1)))
        return total
    if node.head == "*" and len(parts) == 2:
        constants = [part for part in parts if not part[0]]
        if not constants:
            raise PolicyError("a product of variables, which is not linear", where)
        other = parts[1] if parts[0] is constants[0] else parts[0]
        return _times(other, constants[0][1])
    raise PolicyError(f"unknown term '({node.head} ...)'", where, remedy="terms are numbers, X_i, Y_j, +, - and *")


def _times(a: _Linear, factor: Fraction) -> _Linear:
    return {variable: value * factor for variable, value in a[0].items()}, a[1] * factor


def _plus(a: _Linear, b: _Linear) -> _Linear:
    terms = dict(a[0])
    for variable, value in b[0].items():
        terms[variable] = terms.get(variable, Fraction(0)) + value
    return terms, a[1] + b[1]
