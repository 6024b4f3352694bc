"""Norm balls around the input, cut by the input range.  A point is the perturbed input itself."""

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Generator, Tensor

from redoubt.perturb.base import PerturbationSet

_FLOAT32 = torch.finfo(torch.float32).eps


def _rows(values: Tensor, like: Tensor) -> Tensor:
    """`[B]` shaped to broadcast against `[B, ...]`."""
    return values.view(-1, *[1] * (like.dim() - 1))


@dataclass(frozen=True)
class NormBall(PerturbationSet):
    """All inputs within `radius` of x in some norm, and within `[low, high]` in every coordinate.

    Attributes:
        radius: in the units of the input range.
        low, high: the input range.
        grain: the least by which two lengths differ; 0 where any length can be had.
    """

    radius: float
    low: float
    high: float
    symbol: ClassVar[str]
    grain: ClassVar[float] = 0.0

    @abc.abstractmethod
    def length(self, move: Tensor) -> Tensor:
        """The norm of each row, `[B]`."""

    @abc.abstractmethod
    def shorten(self, x: Tensor, move: Tensor, length: Tensor) -> Tensor:
        """A move near the given one, of norm at most `length` `[B]`; inside the range where x + move is.

        The radius does not matter: this is the projection that attacks need who look for the smallest radius.
        """

    @abc.abstractmethod
    def best_move(self, x: Tensor, gradient: Tensor, length: Tensor) -> Tensor:
        """The move of norm at most `length` `[B]` inside the range from x with the greatest scalar product."""

    @abc.abstractmethod
    def dual(self, gradient: Tensor) -> Tensor:
        """The most that a linear function of that gradient rises per unit of length, `[B]`: the dual norm."""

    @staticmethod
    @abc.abstractmethod
    def _length_of_ones(dimensions: int, /) -> float:
        """The norm of the vector of that many ones."""

    def within(self, x: Tensor, point: Tensor, length: Tensor) -> Tensor:
        """A point of the range near the given one, of distance at most `length` `[B]` from x."""
        return (x + self.shorten(x, point - x, length)).clamp(self.low, self.high)

    def most(self, shape: Sequence[int]) -> float:
        """The norm of the longest move between two inputs `[*shape]` of the range."""
        return (self.high - self.low) * self._length_of_ones(math.prod(shape))

    def whole(self, shape: Sequence[int]) -> Self:
        """The ball of this norm that holds every input `[*shape]`."""
        return replace(self, radius=self.most(shape))

    def allowed(self, x: Tensor) -> float:
        """The longest move that counts as inside: the radius, and what float32 rounding of x + move may add."""
        ulp = _FLOAT32 * max(abs(self.low), abs(self.high))
        return self.radius * (1 + 1e-5) + ulp * self._length_of_ones(x[0].numel() if len(x) else 1)

    def _radii(self, x: Tensor) -> Tensor:
        return torch.full((len(x),), self.radius, dtype=x.dtype, device=x.device)

    def start(self, x: Tensor) -> Tensor:
        return x

    def render(self, x: Tensor, point: Tensor) -> Tensor:
        return point

    def size(self, x: Tensor, point: Tensor) -> Tensor:
        return self.length(point - x) / self.radius

    def contains(self, x: Tensor, point: Tensor) -> Tensor:
        in_range = ((point >= self.low) & (point <= self.high)).flatten(1).all(dim=1)
        return in_range & (self.length(point - x) <= self.allowed(x))

    def project(self, x: Tensor, point: Tensor) -> Tensor:
        inside = point.clamp(self.low, self.high)
        move = inside - x
        too_long = self.length(move) > self.allowed(x)
        if not too_long.any():
            return inside
        shorter = (x + self.shorten(x, move, self._radii(x))).clamp(self.low, self.high)
        return torch.where(_rows(too_long, x), shorter, inside)

    def ascend(self, x: Tensor, point: Tensor, gradient: Tensor, step: float | Tensor) -> Tensor:
        length = torch.as_tensor(step, dtype=x.dtype, device=x.device).expand(len(x)) * self.radius
        return self.project(x, point + self.best_move(point, gradient, length))

    def scaled(self, factor: float) -> Self:
        return replace(self, radius=self.radius * factor)

    def moves(self) -> Self:
        """The moves by themselves, around zero: a ball of the same radius that no input range cuts."""
        return replace(self, low=self.low - self.high, high=self.high - self.low)

    def everything(self) -> "PerturbationSet":
        return LinfBall(self.high - self.low, self.low, self.high)

    @property
    def members(self) -> tuple[PerturbationSet, ...]:
        return (self,)

    def __str__(self) -> str:
        return f"{self.symbol} {self.radius:.6g}"


@dataclass(frozen=True)
class LinfBall(NormBall):
    """Every coordinate moves by at most the radius.

    >>> ball = LinfBall(0.3, 0.0, 1.0)
    >>> ball.project(torch.tensor([[0.9]]), torch.tensor([[2.0]]))
    tensor([[1.]])
    """

    symbol: ClassVar[str] = "Linf"

    def length(self, move: Tensor) -> Tensor:
        return move.flatten(1).abs().amax(dim=1)

    def project(self, x: Tensor, point: Tensor) -> Tensor:
        # Exact in one pass, so it does not go through the general way above.
        return self._cut(x, point.clone())

    def sample(self, x: Tensor, rng: Generator) -> Tensor:
        noise = torch.rand(x.shape, generator=rng).to(x) * (2 * self.radius) - self.radius
        return self.project(x, x + noise)

    def ascend(self, x: Tensor, point: Tensor, gradient: Tensor, step: float | Tensor) -> Tensor:
        length = _rows(step, x) * self.radius if isinstance(step, Tensor) else step * self.radius
        return self._cut(x, gradient.sign().mul_(length).add_(point))

    def _cut(self, x: Tensor, point: Tensor) -> Tensor:
        """`project`, in place: a step of an attack is mostly memory traffic."""
        wall = x - self.radius
        torch.maximum(point, wall, out=point)
        torch.add(x, self.radius, out=wall)
        return torch.minimum(point, wall, out=point).clamp_(self.low, self.high)

    def dual(self, gradient: Tensor) -> Tensor:
        return gradient.flatten(1).abs().sum(dim=1)

    def shorten(self, x: Tensor, move: Tensor, length: Tensor) -> Tensor:
        limit = _rows(length, x)
        return torch.minimum(torch.maximum(move, -limit), limit)

    def best_move(self, x: Tensor, gradient: Tensor, length: Tensor) -> Tensor:
        return (x + gradient.sign() * _rows(length, x)).clamp(self.low, self.high) - x

    @staticmethod
    def _length_of_ones(_dimensions: int, /) -> float:
        return 1.0


@dataclass(frozen=True)
class L2Ball(NormBall):
    """The Euclidean length of the move is at most the radius.

    `project` shortens, then clips; clipping towards the box that holds x never lengthens a move.
    """

    symbol: ClassVar[str] = "L2"

    def length(self, move: Tensor) -> Tensor:
        return move.flatten(1).square().sum(dim=1).sqrt()

    def sample(self, x: Tensor, rng: Generator) -> Tensor:
        direction = torch.randn(x.shape, generator=rng).to(x)
        # Half the samples lie on the sphere, where attacks succeed; the rest spread over all radii.
        share = torch.rand(len(x), generator=rng).mul_(2).clamp_(max=1).to(x)
        scale = self.radius * share / self.length(direction).clamp_min(1e-12)
        return self.project(x, x + direction * _rows(scale, x))

    def dual(self, gradient: Tensor) -> Tensor:
        return gradient.flatten(1).square().sum(dim=1).sqrt()

    def shorten(self, x: Tensor, move: Tensor, length: Tensor) -> Tensor:
        return move * _rows((length / self.length(move).clamp_min(1e-12)).clamp_max(1), move)

    def best_move(self, x: Tensor, gradient: Tensor, length: Tensor) -> Tensor:
        # argmax g.d with |d| <= length in the box is d = clip(t g): coordinates at the wall are fixed, the rest share
        # what length is left. Each round fixes more of them, so this ends; what a stop leaves unspent is little.
        low, high = self.low - x, self.high - x
        largest = gradient.abs().flatten(1).amax(dim=1).clamp_min(torch.finfo(gradient.dtype).tiny)
        gradient = gradient / _rows(largest, x)  # or the squares of a tiny gradient would underflow
        free = gradient != 0
        move = torch.zeros_like(x)
        for _ in range(12):
            left = (length**2 - self.length(move * ~free) ** 2).clamp_min(0).sqrt()
            part = gradient * free
            wanted = part * _rows(left / self.length(part).clamp_min(1e-30), x)
            stopped = free & ((wanted < low) | (wanted > high))
            move = torch.where(free, torch.minimum(torch.maximum(wanted, low), high), move)
            if not stopped.any():
                break
            free = free & ~stopped
        return move

    @staticmethod
    def _length_of_ones(dimensions: int, /) -> float:
        return math.sqrt(dimensions)


@dataclass(frozen=True)
class L1Ball(NormBall):
    """The sum of the coordinates' moves is at most the radius.

    `project` is the exact nearest point of ball and box together, as L1 attacks need it (Croce and Hein 2021,
    "Mind the box", section 2); `ascend` moves the coordinates of steepest ascent, each as far as the box lets it.
    """

    symbol: ClassVar[str] = "L1"

    def length(self, move: Tensor) -> Tensor:
        return move.flatten(1).abs().sum(dim=1)

    def project(self, x: Tensor, point: Tensor) -> Tensor:
        inside = point.clamp(self.low, self.high)
        too_long = self.length(inside - x) > self.allowed(x)
        if not too_long.any():
            return inside
        shorter = (x + self.shorten(x, point - x, self._radii(x))).clamp(self.low, self.high)
        return torch.where(_rows(too_long, x), shorter, inside)

    def sample(self, x: Tensor, rng: Generator) -> Tensor:
        # Exponential spacings are uniform on the simplex; a random share of them kept makes sparse moves too.
        kept = torch.rand(len(x), generator=rng)
        spacings = torch.empty(x.shape).exponential_(generator=rng)
        spacings *= torch.rand(x.shape, generator=rng) < _rows(kept, x)
        signs = torch.randint(0, 2, x.shape, generator=rng) * 2 - 1
        move = (spacings * signs).to(x)
        scale = self.radius / self.length(move).clamp_min(1e-12)
        return self.project(x, x + move * _rows(scale, x))

    def dual(self, gradient: Tensor) -> Tensor:
        return gradient.flatten(1).abs().amax(dim=1)

    def shorten(self, x: Tensor, move: Tensor, length: Tensor) -> Tensor:
        # The nearest point is clip(soft-threshold(move)); its length falls with the threshold, so bisect for it.
        low, high, size = self.low - x, self.high - x, move.abs()

        def thresholded(by: Tensor) -> Tensor:
            return (move.sign() * (size - _rows(by, x)).clamp_min(0)).clamp(min=low, max=high)

        none = torch.zeros_like(length)
        all_ = size.flatten(1).amax(dim=1)
        for _ in range(30):
            middle = (none + all_) / 2
            short = self.length(thresholded(middle)) <= length
            none, all_ = torch.where(short, none, middle), torch.where(short, middle, all_)
        return thresholded(all_)

    def best_move(self, x: Tensor, gradient: Tensor, length: Tensor) -> Tensor:
        room = torch.where(gradient > 0, self.high - x, x - self.low) * (gradient != 0)
        order = gradient.abs().flatten(1).argsort(dim=1, descending=True)
        sorted_room = room.flatten(1).gather(1, order)
        before = sorted_room.cumsum(dim=1) - sorted_room
        spent = torch.minimum((length[:, None] - before).clamp_min(0), sorted_room)
        return (torch.zeros_like(sorted_room).scatter(1, order, spent)).view_as(x) * gradient.sign()

    @staticmethod
    def _length_of_ones(dimensions: int, /) -> float:
        return float(dimensions)
