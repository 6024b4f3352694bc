"""Where inputs may lie: boxes, and norm balls cut by boxes; a batch of them at once."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from redoubt.records import Norm


@dataclass(frozen=True)
class Region:
    """All x with `lower <= x <= upper`, and within `radius` of `centre` where there is a ball.

    Attributes:
        lower, upper: `[B, n]`, finite.
        centre: `[B, n]`; None for boxes alone.
        radius: of the ball.
        norm: of the ball: L2 or L1.  An Linf ball is a box.
    """

    lower: Tensor
    upper: Tensor
    centre: Tensor | None = None
    radius: float = 0.0
    norm: Norm = Norm.L2

    def __len__(self) -> int:
        return len(self.lower)

    @property
    def is_box(self) -> bool:
        """Whether there is no ball."""
        return self.centre is None

    def least(self, a: Tensor) -> Tensor:
        """A lower bound `[B, S]` of a·x over the region, for `a` `[B, S, n]`; exact for boxes but for rounding."""
        middle, half = (self.lower + self.upper) / 2, (self.upper - self.lower) / 2
        box = _times(a, middle) - _times(a.abs(), half)
        if self.centre is None:
            return box
        dual = a.abs().amax(dim=-1) if self.norm is Norm.L1 else a.norm(dim=-1)
        return torch.maximum(box, _times(a, self.centre) - self.radius * dual)

    def where_least(self, a: Tensor) -> Tensor:
        """A point of the region `[B, S, n]` where a·x is small; the smallest for boxes."""
        corner = torch.where(a > 0, self.lower[:, None], self.upper[:, None])
        return corner if self.centre is None else self.inside(corner)

    def inside(self, x: Tensor) -> Tensor:
        """Points `[B, S, n]` moved into the region; into a ball, by a millionth more than need be."""
        x = x.clamp(self.lower[:, None], self.upper[:, None])
        if self.centre is None:
            return x
        move = x - self.centre[:, None]
        length = self.length(move)[..., None]
        return self.centre[:, None] + move * (self.radius * (1 - 1e-6) / length.clamp_min(1e-300)).clamp(max=1.0)

    def length(self, move: Tensor) -> Tensor:
        """The ball's norm, over the last axis."""
        return move.abs().sum(dim=-1) if self.norm is Norm.L1 else move.norm(dim=-1)

    def rows(self, which: Tensor) -> Self:
        """Some of the batch, by index or mask, or repeated."""
        centre = None if self.centre is None else self.centre[which]
        return replace(self, lower=self.lower[which], upper=self.upper[which], centre=centre)

    def with_box(self, lower: Tensor, upper: Tensor) -> Self:
        """The same balls, cut by other boxes."""
        return replace(self, lower=lower, upper=upper)


def _times(a: Tensor, x: Tensor) -> Tensor:
    return torch.einsum("bsn,bn->bs", a, x)
