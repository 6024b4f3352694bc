"""A network as a list of operators, each of which names the values it works on."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from redoubt.bounds.network.ops import Affine, Joined, Largest, Op, Relu, Select, SShape, Total


@dataclass(frozen=True)
class Step:
    """One operator.

    Attributes:
        op: what it does.
        inputs: numbers of the values it works on.  Value 0 is the network's input, value i what step i - 1 makes.
        size: of the value that it makes.
    """

    op: Op
    inputs: tuple[int, ...]
    size: int


@dataclass(frozen=True)
class Graph:
    """The steps, each after those it depends on; the last one makes the output.

    Attributes:
        size: of the network's input, flat.
        steps: see `Step`; at least one.
    """

    size: int
    steps: tuple[Step, ...]

    @property
    def outputs(self) -> int:
        """Size of the output."""
        return self.steps[-1].size

    @property
    def bent(self) -> tuple[int, ...]:
        """Numbers of the values that an operator makes which is not affine."""
        return tuple(at for at, step in enumerate(self.steps, 1) if not isinstance(step.op, Affine))

    def size_of(self, value: int) -> int:
        """Size of a value."""
        return self.steps[value - 1].size if value else self.size

    def values(self, x: Tensor) -> list[Tensor]:
        """Every value, for inputs `[B, n]`."""
        values = [x]
        for step in self.steps:
            values.append(step.op.forward(*(values[i] for i in step.inputs)))
        return values

    def __call__(self, x: Tensor) -> Tensor:
        """The output `[B, m]` for inputs `[B, n]`."""
        return self.values(x)[-1]

    def then(self, op: Op, size: int) -> "Graph":
        """The network with one more operator on its output."""
        return Graph(self.size, (*self.steps, Step(op, (len(self.steps),), size)))

    def cast(self, dtype: torch.dtype) -> "Graph":
        """The same network in one precision; still to be trained through."""
        return self._each(lambda value: value.to(dtype) if value.is_floating_point() else value)

    def frozen(self, device: str | torch.device = "cpu") -> "Graph":
        """A copy in float64, without gradients: what bounds are proved of."""
        return self._each(lambda value: value.detach().to(device)).cast(torch.float64)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Graph":
        def changed(op: Op) -> Op:
            tensors = {f.name: getattr(op, f.name) for f in fields(op) if isinstance(getattr(op, f.name), Tensor)}
            changes: dict[str, Any] = {name: change(value) for name, value in tensors.items()}
            return replace(op, **changes)

        return Graph(self.size, tuple(replace(step, op=changed(step.op)) for step in self.steps))


def without_largest(graph: Graph) -> Graph:
    """The same function without `Largest`: max(a, b) = b + relu(a - b), two by two.

    So max pooling is answered as completely as `Relu` is, and bounds see which numbers are compared.
    """
    steps: list[Step] = []
    moved = [0]  # where each value of the old graph is in the new one

    def add(op: Op, inputs: tuple[int, ...], size: int) -> int:
        steps.append(Step(op, inputs, size))
        return len(steps)

    for step in graph.steps:
        inputs = tuple(moved[i] for i in step.inputs)
        if not isinstance(step.op, Largest):
            moved.append(add(step.op, inputs, step.size))
            continue
        at, group = inputs[0], step.op.group
        if group == 1:
            moved.append(at)
            continue
        while group > 1:
            half, rest = group // 2, group - group // 2
            whole = torch.arange(step.size * group).reshape(step.size, group)
            first, second = whole[:, :half].reshape(-1), whole[:, half : 2 * half].reshape(-1)
            a = add(Select(first, step.size * group), (at,), len(first))
            b = add(Select(second, step.size * group), (at,), len(second))
            gap = add(Total((1.0, -1.0)), (a, b), len(first))
            best = add(Total((1.0, 1.0)), (b, add(Relu(), (gap,), len(first))), len(first))
            if rest > half:  # the odd one out waits for the next round
                best = _with_odd(add, at, best, whole[:, -1], half, step.size)
            at, group = best, rest
        moved.append(at)
    return Graph(graph.size, tuple(steps))


def _with_odd(
    add: Callable[[Op, tuple[int, ...], int], int], at: int, best: int, odd: Tensor, half: int, m: int
) -> int:
    left = add(Select(odd, int(odd[-1]) + 1), (at,), m)
    both = add(Joined((m * half, m)), (best, left), m * (half + 1))
    order = torch.cat([torch.arange(m * half).reshape(m, half), torch.arange(m)[:, None] + m * half], dim=1)
    return add(Select(order.reshape(-1), m * (half + 1)), (both,), m * (half + 1))


def is_complete(graph: Graph) -> bool:
    """Whether splits of ReLUs alone lead to an answer in the end: no `SShape` in it."""
    return not any(isinstance(step.op, SShape) for step in graph.steps)
