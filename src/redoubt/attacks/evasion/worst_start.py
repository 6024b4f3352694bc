"""Climbs that begin where random transformations hurt most, for sets that are turned first and moved then."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.losses import margin
from redoubt.attacks.evasion.standing import Standing, affordable
from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.then import Then
from redoubt.records import Access, Budget

_FIRST_STEP = 0.5  # of the radius; falls to nothing over a climb


@dataclass(frozen=True)
class WorstStart(EvasionAttack):
    """Look at random points, then climb from the worst few in all coordinates at once.

    The loss over angle and shift has many hills, and gradient steps stay on the one where they begin (Engstrom et al.
    2019, section 5.3); over the move that follows it has few.  So the first is searched, and the second climbed.

    Does not cover sets with no coordinates of the first kind: PGD and APGD play those.

    Attributes:
        tries: random points looked at, one pass each.
        starts: how many of the worst are climbed from; later ones by survivors only.
        steps: gradient steps per climb, 2 passes each.
    """

    tries: int = 100
    starts: int = 3
    steps: int = 50
    name: ClassVar[str] = "worst-start"
    needs: ClassVar[Access] = Access.GRADIENTS

    def refuses(self, within: PerturbationSet) -> str | None:
        """Sets of one kind of coordinate only."""
        return None if isinstance(within, Then) else f"{within} is not two sets one after the other"

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        standing = Standing(model, x, y, within)
        passes = budget.passes
        tries = affordable(budget, self.tries, cost=1)
        if passes is not None:  # looking takes at most half of a small budget
            tries = min(tries, max(passes // 2, 1))
        worst = self._look(standing, within, tries, rng)
        left = None if passes is None else passes - tries
        for rank in range(self.starts):
            steps = affordable(Budget.model_construct(passes=left), self.steps, cost=2)
            if not steps or not len(standing):
                break
            _climb(standing, within, worst[rank, standing.rows], steps)
            left = None if left is None else left - 2 * steps
        return standing.points

    def _look(self, standing: Standing, within: PerturbationSet, tries: int, rng: Generator) -> Tensor:
        """The points of highest margin of each example, the worst first: `[starts, B, ...]`."""
        start = standing.points
        worst = start.expand(self.starts, *start.shape).clone()
        gains = torch.full((self.starts, len(start)), -torch.inf, dtype=start.dtype, device=start.device)
        for _ in range(tries):
            if not len(standing):
                break
            rows, point = standing.rows, within.sample(standing.x, rng)
            scored = standing.model.scored(within.render(standing.x, point))
            gain = margin(scored.logits, standing.y)
            together = torch.cat([gains[:, rows], gain[None].to(gains)])
            order = together.argsort(dim=0, descending=True, stable=True)[: self.starts]
            gains[:, rows] = together.gather(0, order)
            points = torch.cat([worst[:, rows], point[None]])
            worst[:, rows] = points[order, torch.arange(len(rows), device=rows.device)]
            standing.propose(worst[0, rows])
            standing.fell(scored.fooled(standing.y), point)
        return worst


def _climb(standing: Standing, within: PerturbationSet, point: Tensor, steps: int) -> None:
    """Steepest ascent of the margin from `point` `[S, ...]`, in steps that shorten to nothing."""
    for step in range(steps):
        slope = standing.model.slope(point, lambda z: margin(z, standing.y), lambda p: within.render(standing.x, p))
        gradient = slope.gradient
        keep = standing.fell(slope.fooled(standing.y), point)
        if keep is not None:
            point, gradient = point[keep], gradient[keep]
            if not len(standing):
                return
        point = within.ascend(standing.x, point, gradient, _FIRST_STEP * (1 - step / steps))
    standing.propose(point)
