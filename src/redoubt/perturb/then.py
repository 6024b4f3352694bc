"""Two sets one after the other: first turned and shifted, then moved within a ball around the turned image."""

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.norms import NormBall


@dataclass(frozen=True)
class Then(PerturbationSet):
    """Every point of `second` around every point of `first`: both at once (Engstrom et al. 2019, section 4.4).

    It holds each of the two sets and much that is in neither; a union only holds the two.  Tramer and Boneh 2019,
    section 2.3, mix by shares of two budgets instead (their affine adversaries), which this contains.

    A point is `[B, P + D]`: the point of `first`, flattened, then the move of D values that is added to what it draws.
    What leaves the input range is clipped, which never lengthens the move.  Its gradient is taken as if it were not
    clipped, or a value once at the wall would stay there; steps know the walls themselves.

    Attributes:
        first: where the input goes first; its `render` is differentiable.
        second: the ball around what `first` draws.
    """

    first: PerturbationSet
    second: NormBall

    def _parts(self, x: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
        """The point of `first`, and the move `[B, *shape]`."""
        split = point.shape[1] - x[0].numel()
        shape = self.first.start(x[:1]).shape[1:]
        return point[:, :split].reshape(len(point), *shape), point[:, split:].reshape(len(point), *x.shape[1:])

    @staticmethod
    def _joined(first: Tensor, move: Tensor) -> Tensor:
        return torch.cat([first.flatten(1), move.flatten(1)], dim=1)

    @staticmethod
    def _nowhere(x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def start(self, x: Tensor) -> Tensor:
        return self._joined(self.first.start(x), self._nowhere(x))

    def render(self, x: Tensor, point: Tensor) -> Tensor:
        first, move = self._parts(x, point)
        free = self.first.render(x, first) + move
        return free + (free.clamp(self.second.low, self.second.high) - free).detach()

    def size(self, x: Tensor, point: Tensor) -> Tensor:
        first, move = self._parts(x, point)
        return torch.maximum(self.first.size(x, first), self.second.moves().size(self._nowhere(x), move))

    def contains(self, x: Tensor, point: Tensor) -> Tensor:
        first, move = self._parts(x, point)
        return self.first.contains(x, first) & self.second.moves().contains(self._nowhere(x), move)

    def project(self, x: Tensor, point: Tensor) -> Tensor:
        first, move = self._parts(x, point)
        return self._joined(self.first.project(x, first), self.second.moves().project(self._nowhere(x), move))

    def sample(self, x: Tensor, rng: Generator) -> Tensor:
        return self._joined(self.first.sample(x, rng), self.second.moves().sample(self._nowhere(x), rng))

    def ascend(self, x: Tensor, point: Tensor, gradient: Tensor, step: float | Tensor) -> Tensor:
        """Both at once, by the same share of either radius; the move steps inside the box around what `first` draws."""
        first, move = self._parts(x, point)
        first_slope, move_slope = self._parts(x, gradient)
        centre = self.first.render(x, first).detach()
        here = (centre + move).clamp(self.second.low, self.second.high)
        there = self.second.ascend(centre, here, move_slope, step) - centre
        there = self.second.moves().project(self._nowhere(x), there)
        return self._joined(self.first.ascend(x, first, first_slope, step), there)

    def scaled(self, factor: float) -> "Then":
        return replace(self, first=self.first.scaled(factor), second=self.second.scaled(factor))

    def everything(self) -> PerturbationSet | None:
        return self.second.everything()

    @property
    def members(self) -> tuple[PerturbationSet, ...]:
        return (self,)

    def __str__(self) -> str:
        return f"{self.first}, then {self.second}"
