"""Projected gradient descent."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.losses import cross_entropy
from redoubt.attacks.evasion.standing import Standing, affordable
from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.records import Access, Budget


@dataclass(frozen=True)
class PGD(EvasionAttack):
    """Steepest ascent of the cross-entropy from a random start, with a fixed step (Madry et al. 2018).

    Does not cover models whose cross-entropy is flat around the input; `APGD` with DLR does better there.

    Attributes:
        steps: gradient steps per start, 2 passes each.
        restarts: random starts; those after the first are played by survivors only.
        step: length as a share of the radius; 2.5 / steps when None, which reaches any point of the set,
            also when the budget buys fewer steps.
    """

    steps: int = 40
    restarts: int = 1
    step: float | None = None
    name: ClassVar[str] = "pgd"
    needs: ClassVar[Access] = Access.GRADIENTS

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        standing = Standing(model, x, y, within)
        left = budget.passes
        for start in range(1, self.restarts + 1):
            steps = affordable(Budget.model_construct(passes=left), self.steps, cost=2, extra=1)
            if not steps or not len(standing):
                break
            self._climb(standing, within, steps, rng, last=start == self.restarts)
            left = None if left is None else left - 2 * steps - 1
        return standing.points

    def _climb(self, standing: Standing, within: PerturbationSet, steps: int, rng: Generator, *, last: bool) -> None:
        step = self.step or 2.5 / steps
        point = within.sample(standing.x, rng)
        for _ in range(steps):
            slope = standing.model.slope(
                point, lambda z: cross_entropy(z, standing.y), lambda p: within.render(standing.x, p)
            )
            gradient = slope.gradient
            keep = standing.fell(slope.fooled(standing.y), point)
            if keep is not None:
                point, gradient = point[keep], gradient[keep]
                if not len(standing):
                    return
            point = within.ascend(standing.x, point, gradient, step)
        standing.propose(point)
        if last:  # the judge asks about these
            return
        scored = standing.model.scored(within.render(standing.x, point))
        standing.fell(scored.fooled(standing.y), point)
