"""One node of an ONNX graph, as the operators see it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from torch import Tensor

Value: TypeAlias = "int | float | str | list[int] | list[float] | Tensor"


class Unsupported(Exception):
    """Part of a graph has no twin in torch.  Says which, as a noun."""


@dataclass(frozen=True)
class Node:
    """An operator with its attributes.

    Attributes:
        op: the operator's name in ONNX.
        attributes: as written in the graph; absent ones keep the default that the accessor names.
        opset: version of the operator set, which some meanings depend on.
        outputs: how many outputs the graph names.
    """

    op: str
    attributes: dict[str, Value]
    opset: int
    outputs: int = 1

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        value = self.attributes.get(name, default)
        return value if isinstance(value, int) else self._odd(name)

    def number(self, name: str, default: float) -> float:
        """A float attribute."""
        value = self.attributes.get(name, default)
        return float(value) if isinstance(value, int | float) else self._odd(name)

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        value = self.attributes.get(name, default)
        return value if isinstance(value, str) else self._odd(name)

    def integers(self, name: str) -> list[int] | None:
        """A list of integers, or None if absent."""
        value = self.attributes.get(name)
        if value is None:
            return None
        return [int(item) for item in value] if isinstance(value, list) else self._odd(name)

    def _odd(self, name: str) -> NoReturn:
        raise Unsupported(f"{self.op} with {name}={self.attributes[name]!r}")


Inputs: TypeAlias = Sequence[Tensor | None]
Result: TypeAlias = "Tensor | list[Tensor]"


@dataclass(frozen=True)
class Operator:
    """What an ONNX operator does in torch, and the attributes that it honours; any other is refused."""

    run: Callable[[Node, Inputs], Result]
    attributes: frozenset[str] = frozenset()


def operator(run: Callable[[Node, Inputs], Result], *attributes: str) -> Operator:
    """An entry of the table."""
    return Operator(run, frozenset(attributes))


def need(inputs: Inputs, index: int) -> Tensor:
    """A required input."""
    value = inputs[index] if index < len(inputs) else None
    if value is None:
        raise Unsupported(f"input {index} is not given")
    return value


def maybe(inputs: Inputs, index: int) -> Tensor | None:
    """An optional input."""
    return inputs[index] if index < len(inputs) else None


def list_of(value: Tensor) -> list[int]:
    """A tensor of integers, as the shapes and axes of ONNX are given."""
    return [int(item) for item in value.reshape(-1).tolist()]


def axes_of(node: Node, inputs: Inputs, index: int) -> list[int] | None:
    """Axes, which older operator sets keep in an attribute and newer ones in input `index`."""
    given = maybe(inputs, index)
    return list_of(given) if given is not None else node.integers("axes")
