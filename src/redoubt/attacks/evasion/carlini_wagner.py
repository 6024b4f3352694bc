"""The attack of Carlini and Wagner (2017) for L2: length and margin in one sum, whose weight is searched for."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.losses import margin
from redoubt.attacks.evasion.nearest import Nearest
from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.norms import L2Ball
from redoubt.records import Access, Budget

_BETAS, _TINY = (0.9, 0.999), 1e-8  # of Adam
_ROOM = 1 - 1e-6  # the range is entered this far, or its ends would lie at infinity


@dataclass(frozen=True)
class CarliniWagner(EvasionAttack):
    """Adam on |move|^2 + c max(-margin, -confidence), in a coordinate that cannot leave the range (sections V and VI).

    The move counts as a share of the range, so that c means the same in any.  For each example the least c that
    succeeds is searched, tenfold up until one does and by bisection then.  L2 only.  A baseline that takes many
    passes, so it is played only where a policy names it.

    Attributes:
        steps: steps for each c, of 2 passes each.
        searches: values of c tried.
        weight: the first c.
        step: length of Adam's steps.
        confidence: the margin at which a wrong answer is wrong enough (kappa).
        nearest: whether to go on to the end when a wrong point of the set is known, and so to propose the nearest wrong
            point that was found.
    """

    steps: int = 100
    searches: int = 9
    weight: float = 0.1
    step: float = 0.05
    confidence: float = 0.0
    nearest: bool = False
    name: ClassVar[str] = "carlini-wagner"
    needs: ClassVar[Access] = Access.GRADIENTS

    def refuses(self, within: PerturbationSet) -> str | None:
        """Sets that are no L2 balls."""
        return None if isinstance(within, L2Ball) else f"{within} is no L2 ball"

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        left = self.steps * self.searches
        left = left if budget.passes is None else min(left, budget.passes // 2)
        if not isinstance(within, L2Ball):
            return within.start(x)
        nearest = Nearest(model, x, y, within, through=self.nearest)
        weight = torch.full((len(x),), self.weight, dtype=x.dtype, device=x.device)
        low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)
        while left > 0 and len(nearest):
            rows = nearest.rows
            succeeded = torch.zeros(len(x), dtype=torch.bool, device=x.device)
            steps = min(self.steps, left)
            self._minimise(nearest, weight[rows], succeeded, steps)
            left -= steps
            high = torch.where(succeeded, weight, high)
            low = torch.where(succeeded, low, weight)
            weight = torch.where(high.isfinite(), (low + high) / 2, weight * 10)
        return nearest.proposals()

    def _minimise(self, nearest: Nearest, weight: Tensor, succeeded: Tensor, steps: int) -> None:
        """One run of Adam with the weights `[S]`; marks in `succeeded` `[B]` who met a wrong answer."""
        low, half = nearest.ball.low, (nearest.ball.high - nearest.ball.low) / 2
        free = ((nearest.x - low) / half - 1).mul(_ROOM).atanh()
        mean, square = torch.zeros_like(free), torch.zeros_like(free)
        for at in range(1, steps + 1):
            bent = free.tanh()
            point = (low + half * (bent + 1)).clamp(low, nearest.ball.high)
            slope = nearest.model.slope(point, lambda logits: margin(logits, nearest.y))
            wrong = slope.fooled(nearest.y)
            succeeded[nearest.rows[wrong]] = True
            pull = _rows(torch.where(slope.loss < self.confidence, weight, 0), free)
            length_slope = 2 * (point - nearest.x) / (2 * half) ** 2
            gradient = (length_slope - pull * slope.gradient) * half * (1 - bent.square())
            keep = nearest.learn(point, wrong)
            if keep is not None:
                free, mean, square = free[keep], mean[keep], square[keep]
                gradient, weight = gradient[keep], weight[keep]
                if not len(nearest):
                    return
            mean = _BETAS[0] * mean + (1 - _BETAS[0]) * gradient
            square = _BETAS[1] * square + (1 - _BETAS[1]) * gradient.square()
            scale = (square / (1 - _BETAS[1] ** at)).sqrt() + _TINY
            free = free - self.step * mean / (1 - _BETAS[0] ** at) / scale


def _rows(values: Tensor, like: Tensor) -> Tensor:
    """`[B]` shaped to broadcast against `[B, ...]`."""
    return values.view(-1, *[1] * (like.dim() - 1))
