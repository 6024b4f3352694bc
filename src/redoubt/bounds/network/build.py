"""Building a graph step by step, from shapes as people write them to flat values."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from redoubt.bounds.network.graph import Graph, Step
from redoubt.bounds.network.ops import Convolution, Dense, Joined, Largest, Op, Relu, Scale, Select, SShape, Total
from redoubt.models.onnx_node import Unsupported


@dataclass(frozen=True)
class Wire:
    """A value under construction: its number, and its shape with the batch of one that the network was written for."""

    value: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


class Builder:
    """Collects the steps of a graph whose input has a shape, batch of one included."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.input = Wire(0, tuple(shape))
        self._steps: list[Step] = []

    def graph(self, output: Wire) -> Graph:
        """The finished graph; what the output does not depend on is left out."""
        if output.value != len(self._steps) or not self._steps:  # the output must be the last step
            output = self._add(Total((1.0,)), (output,), output.shape)
        needed, kept = {output.value}, []
        for at in range(output.value, 0, -1):
            if at in needed:
                needed |= set(self._steps[at - 1].inputs)
                kept.append(at)
        kept.reverse()
        moved = {0: 0} | {old: new for new, old in enumerate(kept, 1)}
        steps = (self._steps[old - 1] for old in kept)
        return Graph(self.input.size, tuple(Step(s.op, tuple(moved[i] for i in s.inputs), s.size) for s in steps))

    def _add(self, op: Op, wires: Sequence[Wire], shape: Sequence[int]) -> Wire:
        self._steps.append(Step(op, tuple(wire.value for wire in wires), math.prod(shape)))
        return Wire(len(self._steps), tuple(shape))

    def rearranged(self, function: Callable[..., Tensor], *wires: Wire) -> Wire:
        """What `function` makes of the wires, if it only moves, repeats or drops numbers, or puts in zeros.

        It is run once, on integers that say where each number came from; 0 is no number of theirs.
        """
        numbers, start = [], 1
        for wire in wires:
            numbers.append(torch.arange(start, start + wire.size).reshape(wire.shape))
            start += wire.size
        moved = function(*numbers)
        whole = wires[0]
        if len(wires) > 1:
            sizes = tuple(wire.size for wire in wires)
            whole = self._add(Joined(sizes), wires, (sum(sizes),))
        index = moved.reshape(-1).to(torch.int64) - 1
        if len(index) == whole.size and torch.equal(index, torch.arange(whole.size)):
            return Wire(whole.value, tuple(moved.shape))
        return self._add(Select(index, whole.size), (whole,), moved.shape)

    def dense(self, wire: Wire, weight: Tensor, bias: Tensor | None) -> Wire:
        """A matrix `[m, n]` on the last axis."""
        if not wire.shape or wire.shape[-1] != weight.shape[1]:
            raise Unsupported(f"a product of shapes {list(wire.shape)} and {list(weight.T.shape)}")
        shape = (*wire.shape[:-1], weight.shape[0])
        if bias is not None and bias.ndim > 1 and bias.numel() != weight.shape[0]:
            raise Unsupported(f"a product with a bias of shape {list(bias.shape)}")
        bias = None if bias is None else bias.reshape(-1).expand(weight.shape[0])
        return self._add(Dense(weight, bias, math.prod(wire.shape[:-1])), (wire,), shape)

    def conv(
        self,
        wire: Wire,
        weight: Tensor,
        bias: Tensor | None,
        stride: Sequence[int],
        pads: Sequence[tuple[int, int]],
        dilation: Sequence[int],
        groups: int,
    ) -> Wire:
        """A convolution over one or two spatial axes of `[1, C, ...]`."""
        wire, spatial = self._image(wire, "a convolution")
        if any(before != after for before, after in pads):
            sides = [side for pair in reversed(pads) for side in pair]
            wire, pads = self.rearranged(lambda x: F.pad(x, sides), wire), [(0, 0)] * spatial
        if weight.shape[1] * groups != wire.shape[1]:
            raise Unsupported(f"a convolution of {weight.shape[1] * groups} channels on shape {list(wire.shape)}")
        if spatial == 1:
            wire = Wire(wire.value, (*wire.shape[:2], 1, wire.shape[2]))
            weight, stride, dilation = weight.unsqueeze(2), (1, *stride), (1, *dilation)
            pads = [(0, 0), *pads]
        op = Convolution(
            weight,
            bias,
            (wire.shape[1], wire.shape[2], wire.shape[3]),
            (stride[0], stride[1]),
            (pads[0][0], pads[1][0]),
            (dilation[0], dilation[1]),
            groups,
        )
        if min(op.out_shape) < 1:
            raise Unsupported(f"a convolution whose kernel is larger than shape {list(wire.shape)}")
        out = op.out_shape if spatial == 2 else (op.out_shape[0], op.out_shape[2])
        return self._add(op, (wire,), (1, *out))

    def average_pool(
        self, wire: Wire, kernel: Sequence[int], stride: Sequence[int], pads: Sequence[tuple[int, int]], *, zeros: bool
    ) -> Wire:
        """The mean of each window; `zeros` says whether those of the padding count."""
        wire, spatial = self._image(wire, "average pooling")
        channels = wire.shape[1]
        weight = torch.full((channels, 1, *kernel), 1 / math.prod(kernel), dtype=torch.float64)
        mean = self.conv(wire, weight, None, stride, pads, [1] * spatial, channels)
        if zeros or not any(map(sum, pads)):
            return mean
        ones = Builder(wire.shape)
        counted = ones.graph(ones.conv(ones.input, weight, None, stride, pads, [1] * spatial, channels))
        return self.scaled(mean, 1 / counted(torch.ones(1, wire.size, dtype=torch.float64)).reshape(mean.shape), None)

    def max_pool(
        self,
        wire: Wire,
        kernel: Sequence[int],
        stride: Sequence[int],
        pads: Sequence[tuple[int, int]],
        dilation: Sequence[int],
    ) -> Wire:
        """The largest of each window; padding is never the largest."""
        wire, spatial = self._image(wire, "max pooling")
        if spatial == 1:
            wire = Wire(wire.value, (*wire.shape[:2], 1, wire.shape[2]))
            kernel, stride, dilation, pads = (1, *kernel), (1, *stride), (1, *dilation), [(0, 0), *pads]
        size, shape = math.prod(kernel), list(wire.shape[:2])
        for axis in range(2):
            free = wire.shape[2 + axis] + sum(pads[axis]) - dilation[axis] * (kernel[axis] - 1) - 1
            shape.append(free // stride[axis] + 1)
        if min(shape) < 1:
            raise Unsupported(f"max pooling with a kernel larger than shape {list(wire.shape)}")

        def windows(x: Tensor) -> Tensor:
            padded = F.pad(x.double(), [side for pair in reversed(pads) for side in pair])
            columns = F.unfold(padded, tuple(kernel), dilation=tuple(dilation), stride=tuple(stride))
            each = columns.reshape(shape[1], size, -1).transpose(1, 2)
            return torch.where(each > 0, each, each.amax(dim=2, keepdim=True))  # padding: one of the others again

        out = shape if spatial == 2 else [*shape[:2], shape[3]]
        return self._add(Largest(size), (self.rearranged(windows, wire),), out)

    def mean(self, wire: Wire, axes: Sequence[int], *, keep: bool, total: bool = False) -> Wire:
        """The mean over axes, or the sum."""
        axes = sorted(axis % len(wire.shape) for axis in axes)
        if 0 in axes and wire.shape[0] != 1:
            raise Unsupported("a mean over the batch")
        stay = [axis for axis in range(len(wire.shape)) if axis not in axes]
        count = math.prod(wire.shape[axis] for axis in axes)
        last = self.rearranged(lambda x: x.permute(*stay, *axes).reshape(-1, count), wire)
        mean = self.dense(last, torch.full((1, count), 1.0 if total else 1 / count, dtype=torch.float64), None)
        kept = [1 if axis in axes else size for axis, size in enumerate(wire.shape)]
        return Wire(mean.value, tuple(kept if keep else [wire.shape[axis] for axis in stay]))

    def scaled(self, wire: Wire, factor: Tensor | float | None, shift: Tensor | float | None) -> Wire:
        """Number by number times a constant plus a constant, each broadcast to a common shape."""
        given = [None if v is None else torch.as_tensor(v, dtype=_kind(v)) for v in (factor, shift)]
        shape = np.broadcast_shapes(wire.shape, *(v.shape for v in given if v is not None))
        wire = self.spread_to(wire, shape)
        flat = [None if v is None else v.expand(shape).reshape(-1) for v in given]
        return self._add(Scale(flat[0], flat[1]), (wire,), shape)

    def batch_norm(
        self, wire: Wire, scale: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor, epsilon: float
    ) -> Wire:
        """Batch normalisation by its running statistics, over axis 1."""
        per = (-1, *[1] * (len(wire.shape) - 2))
        factor = (var.double() + epsilon).rsqrt()
        factor = factor if scale is None else factor * scale.double()
        centred = self.scaled(wire, None, -mean.double().view(per))
        return self.scaled(centred, factor.view(per), None if bias is None else bias.view(per))

    def total(self, wires: Sequence[Wire], signs: Sequence[float]) -> Wire:
        """The sum of wires, each with its sign, broadcast to a common shape."""
        shape = np.broadcast_shapes(*(wire.shape for wire in wires))
        return self._add(Total(tuple(signs)), [self.spread_to(wire, shape) for wire in wires], shape)

    def spread_to(self, wire: Wire, shape: Sequence[int]) -> Wire:
        """The wire repeated to a shape."""
        return wire if wire.shape == tuple(shape) else self.rearranged(lambda x: x.expand(*shape), wire)

    def relu(self, wire: Wire) -> Wire:
        """max(x, 0)."""
        return self._add(Relu(), (wire,), wire.shape)

    def leaky(self, wire: Wire, slope: Tensor | float) -> Wire:
        """X above 0, and slope times x below: slope * x + (1 - slope) * relu(x)."""
        rest = 1 - (slope.double() if isinstance(slope, Tensor) else slope)
        return self.total([self.scaled(wire, slope, None), self.scaled(self.relu(wire), rest, None)], (1.0, 1.0))

    def clip(self, wire: Wire, low: float, high: float) -> Wire:
        """X held in [low, high]: low + relu(x - low) - relu(x - high); either may be infinite."""
        if math.isinf(low) and math.isinf(high):
            return wire
        if math.isinf(low):  # high - relu(high - x)
            return self.scaled(self.relu(self.scaled(wire, -1.0, high)), -1.0, high)
        above = self.relu(self.scaled(wire, None, -low))
        if math.isinf(high):
            return self.scaled(above, None, low)
        beyond = self.relu(self.scaled(wire, None, -high))
        return self.scaled(self.total([above, beyond], (1.0, -1.0)), None, low)

    def larger(self, a: Wire, b: Wire) -> Wire:
        """max(a, b), number by number."""
        shape = np.broadcast_shapes(a.shape, b.shape)
        pair = self.rearranged(lambda x, y: torch.stack([x.expand(shape), y.expand(shape)], dim=-1).reshape(-1), a, b)
        return self._add(Largest(2), (pair,), shape)

    def s_shape(self, wire: Wire, kind: Literal["sigmoid", "tanh"]) -> Wire:
        """A sigmoid or tanh."""
        return self._add(SShape(kind), (wire,), wire.shape)

    @staticmethod
    def _image(wire: Wire, what: str) -> tuple[Wire, int]:
        spatial = len(wire.shape) - 2
        if spatial not in (1, 2) or wire.shape[0] != 1:
            raise Unsupported(f"{what} on shape {list(wire.shape)}; one or two spatial axes are known")
        return wire, spatial


def _kind(value: Tensor | float) -> torch.dtype:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.dtype
    return torch.float64
