"""The operators of a network in its graph form.

Every value is flat: `[B, n]`, whatever its shape was, so an operator knows its own sizes and nobody else needs to.
Affine operators can be played forwards, and backwards on the coefficients of linear functions; what is not affine is
`Relu`, `SShape` and `Largest`.  Weights keep their gradients, so a bound can be trained through.
"""

import abc
import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Affine(abc.ABC):
    """y = sum of W_i x_i + b, over one or several inputs."""

    @property
    def terms(self) -> int:
        """How many numbers one result of `forward` or `back` sums up, at most: what rounding grows with."""
        return 1

    @abc.abstractmethod
    def forward(self, *xs: Tensor) -> Tensor:
        """`[B, m]` from inputs `[B, n_i]`."""

    @abc.abstractmethod
    def spread(self, *rs: Tensor) -> Tensor:
        """Sum of |W_i| r_i, `[B, m]`, for r_i >= 0."""

    @abc.abstractmethod
    def back(self, a: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """For coefficients `[B, S, m]` on the output: those on each input `[B, S, n_i]`, and a·b `[B, S]`, if any b."""

    def offset(self) -> Tensor | None:
        """|b|, broadcast against `[m]`; None for zero."""
        return None


@dataclass(frozen=True)
class Dense(Affine):
    """A matrix on each of `rows` groups of n numbers.

    Attributes:
        weight: `[m, n]`.
        bias: `[m]`, or None.
    """

    weight: Tensor
    bias: Tensor | None
    rows: int = 1

    @property
    def terms(self) -> int:
        return sum(self.weight.shape) * self.rows

    def _map(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.rows == 1:
            return F.linear(x, weight, bias)
        return F.linear(x.reshape(*x.shape[:-1], self.rows, -1), weight, bias).flatten(-2)

    def forward(self, *xs: Tensor) -> Tensor:
        return self._map(xs[0], self.weight, self.bias)

    def spread(self, *rs: Tensor) -> Tensor:
        return self._map(rs[0], self.weight.abs(), None)

    def back(self, a: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        bias = None if self.bias is None else a.reshape(*a.shape[:2], self.rows, -1).sum(dim=2) @ self.bias
        return (self._map(a, self.weight.T, None),), bias

    def offset(self) -> Tensor | None:
        return None if self.bias is None else self.bias.abs().repeat(self.rows)


@dataclass(frozen=True)
class Convolution(Affine):
    """A convolution over two spatial axes; of one axis, as of a picture one pixel high.

    Attributes:
        weight: `[O, C / groups, kh, kw]`.
        bias: `[O]`, or None.
        shape: `[C, H, W]` of the input.
        stride, padding, dilation: along both axes; the padding is the same on both sides.
    """

    weight: Tensor
    bias: Tensor | None
    shape: tuple[int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def terms(self) -> int:
        return sum(self.weight.shape[:2]) * math.prod(self.weight.shape[2:]) + math.prod(self.out_shape[1:])

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """`[O, H', W']` of the output."""
        height, width = (
            (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
            for size, pad, dilation, kernel, stride in zip(
                self.shape[1:], self.padding, self.dilation, self.weight.shape[2:], self.stride, strict=True
            )
        )
        return self.weight.shape[0], height, width

    def _map(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        image = x.reshape(-1, *self.shape)
        return F.conv2d(image, weight, bias, self.stride, self.padding, self.dilation, self.groups).flatten(1)

    def forward(self, *xs: Tensor) -> Tensor:
        return self._map(xs[0], self.weight, self.bias)

    def spread(self, *rs: Tensor) -> Tensor:
        return self._map(rs[0], self.weight.abs(), None)

    def back(self, a: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        out = self.out_shape
        spare = [
            size - ((less - 1) * stride - 2 * pad + dilation * (kernel - 1) + 1)
            for size, less, stride, pad, dilation, kernel in zip(
                self.shape[1:], out[1:], self.stride, self.padding, self.dilation, self.weight.shape[2:], strict=True
            )
        ]
        image = a.reshape(-1, *out)
        moved = F.conv_transpose2d(
            image, self.weight, None, self.stride, self.padding, spare, self.groups, self.dilation
        )
        bias = None if self.bias is None else a.reshape(*a.shape[:2], out[0], -1).sum(dim=-1) @ self.bias
        return (moved.reshape(*a.shape[:2], -1),), bias

    def offset(self) -> Tensor | None:
        return None if self.bias is None else self.bias.abs().repeat_interleave(math.prod(self.out_shape[1:]))


@dataclass(frozen=True)
class Scale(Affine):
    """Each number by its own factor, plus its own shift; both `[n]`, or None for 1 and for 0."""

    factor: Tensor | None
    shift: Tensor | None

    @property
    def terms(self) -> int:
        return 2

    def forward(self, *xs: Tensor) -> Tensor:
        x = xs[0] if self.factor is None else xs[0] * self.factor
        return x if self.shift is None else x + self.shift

    def spread(self, *rs: Tensor) -> Tensor:
        return rs[0] if self.factor is None else rs[0] * self.factor.abs()

    def back(self, a: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        bias = None if self.shift is None else a @ self.shift
        return (a if self.factor is None else a * self.factor,), bias

    def offset(self) -> Tensor | None:
        return None if self.shift is None else self.shift.abs()


@dataclass(frozen=True)
class Select(Affine):
    """Number `index[j]` of the input as number j of the output; 0 where the index is -1.

    Reshaping, transposing, slicing, padding with zeros and repeating are all of this kind.

    Attributes:
        index: int64 `[m]`.
        size: n.
    """

    index: Tensor
    size: int

    @property
    def terms(self) -> int:
        return len(self.index)

    def forward(self, *xs: Tensor) -> Tensor:
        picked = xs[0].index_select(-1, self.index.clamp_min(0))
        return picked if bool((self.index >= 0).all()) else picked * (self.index >= 0).to(picked.dtype)

    def spread(self, *rs: Tensor) -> Tensor:
        return self.forward(*rs)

    def back(self, a: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        real = self.index >= 0
        if not bool(real.all()):
            a = a[..., real]
        return (a.new_zeros(*a.shape[:2], self.size).index_add(2, self.index[real], a),), None


@dataclass(frozen=True)
class Total(Affine):
    """The sum of several inputs of one size, each with its sign."""

    signs: tuple[float, ...]

    @property
    def terms(self) -> int:
        return len(self.signs)

    def forward(self, *xs: Tensor) -> Tensor:
        total = xs[0] * self.signs[0]
        for sign, x in zip(self.signs[1:], xs[1:], strict=True):
            total = total + sign * x
        return total

    def spread(self, *rs: Tensor) -> Tensor:
        total = rs[0]
        for r in rs[1:]:
            total = total + r
        return total

    def back(self, a: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        return tuple(a if sign == 1 else a * sign for sign in self.signs), None


@dataclass(frozen=True)
class Joined(Affine):
    """Several inputs, one after the other; of these sizes."""

    sizes: tuple[int, ...]

    def forward(self, *xs: Tensor) -> Tensor:
        return torch.cat(xs, dim=-1)

    def spread(self, *rs: Tensor) -> Tensor:
        return torch.cat(rs, dim=-1)

    def back(self, a: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        return torch.split(a, list(self.sizes), dim=-1), None


@dataclass(frozen=True)
class Relu:
    """max(x, 0), number by number."""

    def forward(self, *xs: Tensor) -> Tensor:
        """`[B, n]` from `[B, n]`."""
        return xs[0].clamp_min(0)


@dataclass(frozen=True)
class SShape:
    """A sigmoid or the hyperbolic tangent, number by number."""

    kind: Literal["sigmoid", "tanh"]

    def forward(self, *xs: Tensor) -> Tensor:
        """`[B, n]` from `[B, n]`."""
        return xs[0].sigmoid() if self.kind == "sigmoid" else xs[0].tanh()


@dataclass(frozen=True)
class Largest:
    """The largest of each `group` numbers that follow one another: max pooling, after a `Select` of its windows."""

    group: int

    def forward(self, *xs: Tensor) -> Tensor:
        """`[B, m]` from `[B, m * group]`."""
        return xs[0].reshape(*xs[0].shape[:-1], -1, self.group).amax(dim=-1)


Bent: TypeAlias = Relu | SShape | Largest
Op: TypeAlias = Affine | Bent
