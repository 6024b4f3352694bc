"""What stands on the stack of a pickle that is followed without being obeyed."""

from dataclasses import dataclass, field
from typing import TypeAlias

from redoubt.supply.flaw import shown

Value: TypeAlias = "bool | int | float | str | bytes | Row | Map | Name | Made | Stored | None"


@dataclass
class Row:
    """A list, tuple or set."""

    kind: str
    items: "list[Value]" = field(default_factory=list)


@dataclass
class Map:
    """A dictionary, as pairs in the order in which they were put in."""

    pairs: "list[tuple[Value, Value]]" = field(default_factory=list)

    def get(self, key: str) -> "Value":
        """The last value under a text; None if there is none."""
        return next((value for own, value in reversed(self.pairs) if own == key), None)


@dataclass(frozen=True)
class Name:
    """A global: a class or function that the reader would import."""

    module: str
    name: str

    @property
    def key(self) -> tuple[str, str]:
        """Module and name."""
        return self.module, self.name

    def __str__(self) -> str:
        return shown(f"{self.module}.{self.name}")


@dataclass
class Made:
    """What a call would return, with the state and the items that it is given afterwards."""

    key: tuple[str, str]
    args: "tuple[Value, ...]"
    state: "Value" = None
    filled: "list[Value]" = field(default_factory=list)


@dataclass(frozen=True)
class Stored:
    """What a persistent id stands for: with torch, a storage that lies outside the pickle."""

    id: "Value"


def described(value: Value, depth: int = 2) -> str:
    """A value in few words, for messages."""
    match value:
        case Name():
            return str(value)
        case Made():
            inside = ", ".join(described(arg, depth - 1) for arg in value.args[:4]) if depth else "…"
            return shown(f"{'.'.join(value.key)}({inside})")
        case Row():
            inside = ", ".join(described(item, depth - 1) for item in value.items[:4]) if depth else "…"
            return shown(f"({inside})" if value.kind == "tuple" else f"{value.kind}({inside})")
        case Map():
            return f"a dictionary of {len(value.pairs)}"
        case Stored():
            return "a stored object"
        case _:
            return shown(repr(value) if not isinstance(value, str | bytes) else repr(value[:120]))
