"""Quantities that carry their unit: `30 deg`, `3 px`, `10 min`."""

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([A-Za-z]+|%)")


def parse_quantity(text: object, units: dict[str, float]) -> float:
    """The number in `text`, in the unit whose factor is 1.

    Raises:
        ValueError: no unit, an unknown unit, or no number; the message says what was expected.

    >>> parse_quantity("10 min", {"s": 1, "min": 60})
    600.0
    """
    wanted = " or ".join(f"'{unit}'" for unit in units)
    example = f"write for example '{text if isinstance(text, int | float) else 3} {next(iter(units))}'"
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError(f"expected a number with unit {wanted}; {example}")
    if isinstance(text, int | float):
        raise ValueError(f"missing unit: {text} what? expected {wanted}; {example}")
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected a number with unit {wanted}, got '{text}'; {example}")
    number, unit = match.groups()
    if unit not in units:
        raise ValueError(f"unknown unit '{unit}'; expected {wanted}")
    return float(number) * units[unit]


def _parser(units: dict[str, float]) -> Callable[[object], float]:
    return lambda text: parse_quantity(text, units)


def _writer(unit: str) -> Callable[[float], str]:
    return lambda value: f"{value!r} {unit}"


def _schema(*units: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": rf"^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?\s*({'|'.join(units)})$"})


def _share(value: object) -> object:
    """`10 %` as 0.1; numbers as they are."""
    return parse_quantity(value, {"%": 0.01}) if isinstance(value, str) else value


Degrees = Annotated[float, BeforeValidator(_parser({"deg": 1.0})), PlainSerializer(_writer("deg")), _schema("deg")]
Pixels = Annotated[float, BeforeValidator(_parser({"px": 1.0})), PlainSerializer(_writer("px")), _schema("px")]
Part = Annotated[float, BeforeValidator(_share, json_schema_input_type=float | str)]
_TIME = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
Seconds = Annotated[float, BeforeValidator(_parser(_TIME)), PlainSerializer(_writer("s")), _schema(*_TIME)]

_SIZE = {"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
Bytes = Annotated[
    float,
    BeforeValidator(_parser(_SIZE)),
    PlainSerializer(lambda size: f"{size / 2**20!r} MiB"),
    _schema(*_SIZE),
]


def ordered(pair: tuple[float, float]) -> tuple[float, float]:
    """The pair, if low < high."""
    if not pair[0] < pair[1]:
        raise ValueError(f"expected [low, high] with low < high, got [{pair[0]:g}, {pair[1]:g}]")
    return pair
