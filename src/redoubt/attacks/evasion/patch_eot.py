"""Patches that survive their placement: ascent of the loss expected over what chance does."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.losses import cross_entropy, wrong_log_probability
from redoubt.attacks.evasion.momentum import blended
from redoubt.attacks.evasion.standing import Standing
from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.records import Access, Budget

_FIRST_STEP, _LAST_STEP = 0.4, 0.04  # shares of the radius
_EVERY = 15  # steps from one look to the next
_LOOKS = 10  # outcomes in a look


@dataclass(frozen=True)
class PatchEOT(EvasionAttack):
    """Expectation over transformation (Athalye et al. 2018): the gradient is averaged over random outcomes.

    Steps follow the sign of a momentum and shorten along a line.  Now and then a look at fresh outcomes counts how many
    are answered wrongly: the best point so far is kept, and who is fooled well beyond the share that the judge wants
    is attacked no further.

    Does not cover models that are random themselves beyond what these outcomes average out.

    Attributes:
        steps: gradient steps per start.
        draws: outcomes per step, 2 passes each.
        restarts: random patches to start from; those after the first for survivors only.
        target: the class to be answered; any wrong one when None.
    """

    steps: int = 60
    draws: int = 4
    restarts: int = 2
    target: int | None = None
    name: ClassVar[str] = "patch-eot"
    needs: ClassVar[Access] = Access.GRADIENTS
    averages: ClassVar[bool] = True

    def refuses(self, within: PerturbationSet) -> str | None:
        """Sets that leave nothing to chance."""
        return None if within.vote.draws > 1 else f"{within} leaves nothing to chance"

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        standing = Standing(model, x, y, within)
        best = torch.full((len(x),), -1.0, device=x.device)
        purse = _Purse(budget.passes)
        for _ in range(self.restarts):
            if not len(standing):
                break
            self._climb(standing, within, best, purse, rng)
        return standing.points

    def _climb(
        self, standing: Standing, within: PerturbationSet, best: Tensor, purse: "_Purse", rng: Generator
    ) -> None:
        point = within.sample(standing.x, rng)
        momentum: Tensor | None = None
        for step in range(self.steps):
            draws = purse.pay(self.draws, cost=2)
            if not draws:
                break
            momentum = blended(momentum, self._slope(standing, within, point, draws, rng))
            length = _FIRST_STEP + (_LAST_STEP - _FIRST_STEP) * step / self.steps
            point = within.ascend(standing.x, point, momentum, length)
            if (step + 1) % _EVERY == 0 or step + 1 == self.steps:
                keep = self._look(standing, within, point, best, purse, rng)
                if keep is not None:
                    point, momentum = point[keep], momentum[keep]
                    if not len(standing):
                        return
        unseen = best[standing.rows] < 0  # a budget too small for a look: the last point is as good as any
        if unseen.any():
            standing.propose(torch.where(unseen[:, None], point, standing.points[standing.rows]))

    def _slope(self, standing: Standing, within: PerturbationSet, point: Tensor, draws: int, rng: Generator) -> Tensor:
        x, y = standing.x.repeat(draws, *[1] * (standing.x.dim() - 1)), standing.y.repeat(draws)

        def objective(logits: Tensor) -> Tensor:
            if self.target is None:
                return wrong_log_probability(logits, y)
            return -cross_entropy(logits, torch.full_like(y, self.target))

        copies = point.repeat(draws, *[1] * (point.dim() - 1))
        slope = standing.model.slope(copies, objective, lambda p: within.draw(x, p, rng))
        return slope.gradient.view(draws, *point.shape).mean(dim=0)

    def _look(
        self, standing: Standing, within: PerturbationSet, point: Tensor, best: Tensor, purse: "_Purse", rng: Generator
    ) -> Tensor | None:
        looks = purse.pay(min(_LOOKS, within.vote.draws), cost=1)
        if not looks:
            return None
        hits = torch.zeros(len(point), device=point.device)
        for _ in range(looks):
            scored = standing.model.scored(within.draw(standing.x, point, rng))
            aimed = self.target is None or scored.logits.argmax(dim=1) == self.target
            hits += scored.fooled(standing.y) & aimed
        share, rows = hits / looks, standing.rows
        better = share >= best[rows]
        standing.propose(torch.where(better[:, None], point, standing.points[rows]))
        best[rows] = torch.where(better, share, best[rows])
        return standing.fell(share >= (1 + within.vote.share) / 2, point)


@dataclass
class _Purse:
    """What is left of the passes that each example may cost; None is no limit."""

    left: int | None

    def pay(self, wanted: int, *, cost: int) -> int:
        """How many of the wanted outcomes can be had at that cost; they are paid for."""
        if self.left is None:
            return wanted
        bought = min(wanted, self.left // cost)
        self.left -= bought * cost
        return bought
