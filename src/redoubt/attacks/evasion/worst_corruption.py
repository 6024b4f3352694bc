"""The worst combination of corruptions, searched by labels, and by scores where they are shown."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.losses import margin
from redoubt.attacks.evasion.standing import Standing, affordable_queries
from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.corruptions import Corruptions
from redoubt.records import Access, Budget


@dataclass(frozen=True)
class WorstCorruption(EvasionAttack):
    """Random corners of the set first, then an evolution of the best: one parent, one child (Rechenberg 1973).

    A child has another kind in the place of one, another random pattern, or other severities.  It replaces its parent
    unless it lowers the margin between wrong and right; without scores there is no margin, and corners are tried all
    along.

    Attributes:
        queries: per example.
        corners: of them, how many go to random corners before the evolution begins.
        spread: standard deviation of a severity's change, as a share of the set's.
    """

    queries: int = 200
    corners: int = 30
    spread: float = 0.3
    name: ClassVar[str] = "worst-corruption"
    needs: ClassVar[Access] = Access.LABEL

    def refuses(self, within: PerturbationSet) -> str | None:
        """Everything but corruptions."""
        return None if isinstance(within, Corruptions) else f"{within} is no set of corruptions"

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        if not isinstance(within, Corruptions):
            return within.start(x)
        standing = Standing(model, x, y, within)
        best = within.start(x)
        highest = torch.full((len(x),), -torch.inf).to(x)
        for query in range(affordable_queries(budget, self.queries)):
            if query < self.corners or model.access < Access.SCORES:
                point = _corner(within, standing.x, rng)
            else:
                point = self._child(within, standing.x, best, rng)
            answer = standing.model.query(within.render(standing.x, point))
            if answer.scores is not None:
                gain = torch.where(answer.refused, -torch.inf, margin(answer.scores, standing.y)).to(highest)
                better = gain >= highest
                best = torch.where(better[:, None], point, best)
                highest = torch.where(better, gain, highest)
            keep = standing.fell((answer.labels != standing.y) & ~answer.refused, point)
            if keep is not None:
                best, highest = best[keep], highest[keep]
                if not len(standing):
                    return standing.points
        standing.propose(best)
        return standing.points

    def _child(self, within: Corruptions, x: Tensor, parent: Tensor, rng: Generator) -> Tensor:
        other = within.sample(x, rng)
        noise = torch.randn(parent.shape, generator=rng).to(parent) * self.spread * (parent > 0)
        what = torch.rand(len(x), 1, generator=rng).to(parent)
        shares = parent[:, :-1]
        # Another kind: one of those of a random point comes in, and what is weakest falls out when it is projected.
        incoming = torch.maximum(shares * 0.99, (other[:, :-1] > 0).to(shares))
        kinds = torch.cat([incoming, parent[:, -1:]], dim=1)
        pattern = torch.cat([shares, other[:, -1:]], dim=1)
        severities = torch.cat([shares + noise[:, :-1], parent[:, -1:]], dim=1)
        child = torch.where(what < 1 / 3, kinds, torch.where(what < 2 / 3, pattern, severities))
        return within.project(x, child)


def _corner(within: Corruptions, x: Tensor, rng: Generator) -> Tensor:
    """Random kinds at their full severity."""
    point = within.sample(x, rng)
    return torch.cat([(point[:, :-1] > 0).to(point), point[:, -1:]], dim=1)
