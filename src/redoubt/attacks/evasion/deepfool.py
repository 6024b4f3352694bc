"""DeepFool: to the nearest border of the linearised model, again and again (Moosavi-Dezfooli et al. 2016)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.nearest import Nearest
from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.norms import L1Ball, L2Ball, LinfBall, NormBall
from redoubt.records import Access, Budget


@dataclass(frozen=True)
class DeepFool(EvasionAttack):
    """Step to the class whose border is nearest by first order, until the answer is wrong (algorithm 2 of the paper).

    For the norms p >= 1 of section 3.3: L2, Linf and L1; steps stay in the input range, which the paper ignores.  A
    baseline: it stops at the first wrong answer, however far, so it is played only where a policy names it.

    Attributes:
        steps: steps at most; each costs 2 passes for each class tried, and there is one forward pass at the end.
        classes: wrong classes tried, the likeliest first; all the others when there are fewer.
        overshoot: by what share of itself the whole move is lengthened to cross the border.
    """

    steps: int = 50
    classes: int = 9
    overshoot: float = 0.02
    name: ClassVar[str] = "deepfool"
    needs: ClassVar[Access] = Access.GRADIENTS

    def refuses(self, within: PerturbationSet) -> str | None:
        """Sets other than Linf, L2 and L1 balls."""
        plays = isinstance(within, LinfBall | L2Ball | L1Ball)
        return None if plays else f"{within} is neither an Linf, an L2 nor an L1 ball"

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        classes = min(self.classes, model.face.classes - 1)
        if not isinstance(within, NormBall) or (budget.passes is not None and budget.passes < 1):
            return within.start(x)
        left = self.steps if budget.passes is None else min(self.steps, (budget.passes - 1) // (2 * classes + 1))
        nearest = Nearest(model, x, y, within, through=True)
        point = x
        for step in range(left + 1):
            logits = nearest.model.logits(point)
            wrong = logits.argmax(dim=1) != nearest.y
            nearest.learn(point, wrong)
            nearest.keep(~wrong)
            point, logits = point[~wrong], logits[~wrong]
            if step == left or not len(nearest):
                break
            likeliest = logits.scatter(1, nearest.y[:, None], -torch.inf).argsort(dim=1, descending=True)
            move = self._to_nearest_border(nearest, point, likeliest[:, :classes], within)
            there = nearest.x + (1 + self.overshoot) * (point + move - nearest.x)
            point = there.clamp(within.low, within.high)
        return nearest.proposals()

    def _to_nearest_border(self, nearest: Nearest, point: Tensor, classes: Tensor, ball: NormBall) -> Tensor:
        """The move to the border that first order says is nearest, of the classes `[S, k]`."""
        least = torch.full((len(point),), torch.inf, dtype=point.dtype, device=point.device)
        normal = torch.zeros_like(point)
        for rank in range(classes.shape[1]):
            pair = torch.stack([classes[:, rank], nearest.y], dim=1)

            def gap(logits: Tensor, pair: Tensor = pair) -> Tensor:
                other, true = logits.gather(1, pair).unbind(dim=1)
                return other - true

            slope = nearest.model.slope(point, gap)
            distance = slope.loss.abs() / ball.dual(slope.gradient).clamp_min(1e-12)
            nearer = distance < least
            least = torch.where(nearer, distance, least)
            normal = torch.where(nearer.view(-1, *[1] * (point.dim() - 1)), slope.gradient, normal)
        return ball.best_move(point, normal, least.clamp_max(ball.most(point.shape[1:])))
