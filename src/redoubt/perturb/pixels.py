"""The L0 ball: a few pixels change, each as far as the range lets it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.perturb.norms import NormBall


@dataclass(frozen=True)
class L0Ball(NormBall):
    """At most `radius` pixels of the input change, each to anything in the range.

    A *pixel* of an image `[C, H, W]` is its C values at one place, which count as one however many of them change, as
    in Croce and Hein 2019 ("Sparse and imperceivable adversarial attacks", section 2) and the sparse attacks since.
    Of inputs of any other shape each coordinate counts.  A radius that is no whole number means the next lower one.

    `project` keeps the pixels that change most, in Euclidean length over their channels.  Lengths of steps are counted
    in pixels too: `ascend` moves the best ones, at least one, to their best ends of the range, and where these are too
    many it gives up the changes that the gradient says are worth least.

    >>> ball = L0Ball(1, 0.0, 1.0)
    >>> ball.project(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.6, 0.9]]))
    tensor([[0.5000, 0.9000]])
    """

    symbol: ClassVar[str] = "L0"
    grain: ClassVar[float] = 1.0

    @property
    def pixels(self) -> int:
        """How many may change."""
        return math.floor(self.radius * (1 + 1e-9))

    def length(self, move: Tensor) -> Tensor:
        return (by_pixel(move) != 0).any(dim=1).sum(dim=1).to(move)

    def most(self, shape: Sequence[int]) -> float:
        return float(math.prod(shape[1:] if len(shape) == 3 else shape))

    def shorten(self, x: Tensor, move: Tensor, length: Tensor) -> Tensor:
        return move * self._first(by_pixel(move).square().sum(dim=1), length, move)

    def ascend(self, x: Tensor, point: Tensor, gradient: Tensor, step: float | Tensor) -> Tensor:
        length = torch.as_tensor(step, dtype=x.dtype, device=x.device).expand(len(x)) * self.radius
        there = point + self.best_move(point, gradient, length.ceil())
        worth = by_pixel((there - x) * gradient).sum(dim=1)
        worth = worth - worth.amin(dim=1, keepdim=True) + 1  # above 0, as `_first` asks of what may stay
        changed = (by_pixel(there - x) != 0).any(dim=1)
        kept = self._first(worth * changed, self._radii(x), x)
        return torch.where(kept, there, x).clamp(self.low, self.high)

    def best_move(self, x: Tensor, gradient: Tensor, length: Tensor) -> Tensor:
        corner = torch.where(gradient > 0, self.high - x, self.low - x) * (gradient != 0)
        gain = by_pixel(corner * gradient).sum(dim=1)
        order = gain.argsort(dim=1, descending=True)
        spent = (length[:, None] - torch.arange(order.shape[1]).to(length)).clamp(0, 1)
        share = torch.zeros_like(gain).scatter(1, order, spent)
        return corner * share[:, None].expand(-1, by_pixel(corner).shape[1], -1).reshape_as(corner)

    def dual(self, gradient: Tensor) -> Tensor:
        return by_pixel(gradient).abs().sum(dim=1).amax(dim=1) * (self.high - self.low)

    def sample(self, x: Tensor, rng: Generator) -> Tensor:
        """Half of the samples change as many pixels as they may, the rest any number; half of the values are ends."""
        kept = (torch.rand(len(x), generator=rng) * 2).clamp(max=1) * self.pixels
        values = torch.rand(x.shape, generator=rng)
        values = torch.where(torch.rand(x.shape, generator=rng) < 0.5, values.round(), values)
        move = (self.low + (self.high - self.low) * values).to(x) - x
        draw = torch.rand(len(x), by_pixel(x).shape[2], generator=rng).to(x)
        return self.project(x, x + move * self._first(draw, kept.ceil().to(x), x))

    def __str__(self) -> str:
        return f"{self.symbol} {self.pixels}"

    def allowed(self, x: Tensor) -> float:
        return self.pixels

    def _first(self, score: Tensor, count: Tensor, like: Tensor) -> Tensor:
        """Bool, of the shape of `like`: the `count` `[B]` pixels of highest score `[B, P]`, less those of score 0."""
        rank = score.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        chosen = (rank < count.floor()[:, None]) & (score > 0)
        return chosen[:, None].expand(-1, by_pixel(like).shape[1], -1).reshape_as(like)

    @staticmethod
    def _length_of_ones(dimensions: int, /) -> float:
        return float(dimensions)


def by_pixel(values: Tensor) -> Tensor:
    """`[B, C, P]`: P pixels of C channels for images `[B, C, H, W]`, else P coordinates of one channel."""
    return values.flatten(2) if values.dim() == 4 else values.flatten(1)[:, None]
