"""sigma-zero: gradient descent on a smooth count of the pixels that change (Cina et al. 2025)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.losses import margin
from redoubt.attacks.evasion.nearest import Nearest
from redoubt.attacks.evasion.standing import affordable
from redoubt.models.leak import SHARE
from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.pixels import L0Ball, by_pixel
from redoubt.records import Access, Budget

_SMOOTHING = 1e-3  # sigma of the paper: below its root a change hardly counts as one
_THRESHOLD, _THRESHOLD_STEP = 0.3, 0.01  # tau_0 and t: changes below are undone, and by how much the bar moves
_LEAST_STEP = 0.1  # what the cosine schedule of step lengths ends at, as a share of the first


@dataclass(frozen=True)
class SigmaZero(EvasionAttack):
    """Descend on the margin and a smooth L0 norm at once, and undo the smallest changes (algorithm 1 of the paper).

    The bar below which a change is undone rises while the answer is wrong and falls while it is right.  Counted and
    undone are whole pixels, as `L0Ball` counts them; the paper's coordinates are the same for one channel.  Lengths are
    shares of the input range.  Beyond the paper, its slopes see past rectified units that are off
    (`redoubt.models.leak`), behind which a hardened network hides all but some.  L0 only.

    Attributes:
        steps: slopes, of 2 passes each, and one forward pass at the end.
        step: length of the first step, in the coordinate that it moves most.
        nearest: whether to go on to the end when a wrong point of the set is known, and so to propose the one with the
            fewest pixels that was found: for the whole curve of robust accuracy against radius.
    """

    steps: int = 100
    step: float = 1.0
    nearest: bool = False
    name: ClassVar[str] = "sigma-zero"
    needs: ClassVar[Access] = Access.GRADIENTS

    def refuses(self, within: PerturbationSet) -> str | None:
        """Sets that are no L0 balls."""
        return None if isinstance(within, L0Ball) else f"{within} is no L0 ball"

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        steps = affordable(budget, self.steps, cost=2, extra=1)
        if not isinstance(within, L0Ball) or steps < 1:
            return within.start(x)
        span = within.high - within.low
        nearest = Nearest(model, x, y, within, through=self.nearest)
        move = torch.zeros_like(x)  # as a share of the range
        bar = torch.full((len(x),), _THRESHOLD, dtype=x.dtype, device=x.device)
        point = x
        for at in range(steps):
            slope = nearest.model.leaking(SHARE).slope(point, lambda logits: margin(logits, nearest.y))
            wrong = slope.fooled(nearest.y)
            gradient = slope.gradient
            keep = nearest.learn(point, wrong)
            if keep is not None:
                move, bar, gradient, wrong = move[keep], bar[keep], gradient[keep], wrong[keep]
                if not len(nearest):
                    return nearest.proposals()
            step = self.step * (_LEAST_STEP + (1 - _LEAST_STEP) * (1 + math.cos(math.pi * at / steps)) / 2)
            uphill = torch.where(_rows(wrong, x), 0, gradient * span) - _count_slope(move)
            uphill = uphill / _rows(uphill.flatten(1).abs().amax(dim=1).clamp_min(1e-12), x)
            bar = (bar + _THRESHOLD_STEP * step * torch.where(wrong, 1.0, -1.0)).clamp(0, 1)
            there = (nearest.x + span * (move + step * uphill)).clamp(within.low, within.high)
            move = _without_small((there - nearest.x) / span, bar)
            point = torch.where(move == 0, nearest.x, there)
        nearest.learn(point, nearest.model.logits(point).argmax(dim=1) != nearest.y)
        return nearest.proposals()


def _rows(values: Tensor, like: Tensor) -> Tensor:
    """`[B]` shaped to broadcast against `[B, ...]`."""
    return values.view(-1, *[1] * (like.dim() - 1))


def _sizes(move: Tensor) -> Tensor:
    """The square of each pixel's change, `[B, 1, P]`."""
    return by_pixel(move).square().sum(dim=1, keepdim=True)


def _count_slope(move: Tensor) -> Tensor:
    """The gradient of the mean over pixels of s / (s + sigma), for the square s of a pixel's change (equation 5)."""
    size = _sizes(move)
    slope = 2 * by_pixel(move) * _SMOOTHING / (size + _SMOOTHING).square() / size.shape[2]
    return slope.reshape_as(move)


def _without_small(move: Tensor, bar: Tensor) -> Tensor:
    """The move without the pixels whose change is shorter than the bar `[B]`."""
    kept = _sizes(move) >= bar.square().view(-1, 1, 1)
    return (by_pixel(move) * kept).reshape_as(move)
