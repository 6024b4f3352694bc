"""Strategies that need no gradient and no score: they try points and look at the label."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.standing import Standing, affordable_queries
from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.records import Access, Budget

_AT_ONCE = 8  # points tried per example in one batch: enough to fill a batch late, few enough to waste little


@dataclass(frozen=True)
class RandomSearch(EvasionAttack):
    """Random points of the set: the floor that every other strategy must clear.

    Where something is left to chance, each point is asked about in several outcomes, and the wrong answers counted.

    Attributes:
        samples: points tried per example.
    """

    samples: int = 100
    name: ClassVar[str] = "random"
    needs: ClassVar[Access] = Access.LABEL
    averages: ClassVar[bool] = True

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        standing = Standing(model, x, y, within)
        queries = affordable_queries(budget, self.samples)
        looks = min(within.vote.draws, _AT_ONCE, max(queries, 1))
        for _ in range(queries // looks):
            if not len(standing):
                break
            point = within.sample(standing.x, rng)
            wrong = torch.zeros(len(point), dtype=torch.int64, device=x.device)
            for _ in range(looks):
                answer = standing.model.query(within.draw(standing.x, point, rng))
                point = point if answer.asked is None else within.project(standing.x, answer.asked)
                wrong += (answer.labels != standing.y) & ~answer.refused
            standing.fell(wrong >= within.vote.needed(looks), point)
        return standing.points


@dataclass(frozen=True)
class WorstOfK(EvasionAttack):
    """The worst of k random transformations (Engstrom et al. 2019, section 3), for sets with few coordinates.

    `RandomSearch` with few samples, under the name that the literature's figures have.

    Attributes:
        k: transformations tried per example; 10 in the paper.
    """

    k: int = 10
    name: ClassVar[str] = "worst-of-k"
    needs: ClassVar[Access] = Access.LABEL

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        return RandomSearch(self.k).run(model, x, y, within, budget, rng)

    def refuses(self, within: PerturbationSet) -> str | None:
        """Sets without a grid."""
        return None if within.has_grid else f"{within} has no grid: it has too many coordinates"


@dataclass(frozen=True)
class GridSearch(EvasionAttack):
    """Every point of the set's grid, for sets with few coordinates (Engstrom et al. 2019, section 3).

    Exhaustive over the grid, not over what lies between its points.  Starts with the farthest, which fool most.
    """

    name: ClassVar[str] = "grid"
    needs: ClassVar[Access] = Access.LABEL

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        standing = Standing(model, x, y, within)
        grid = within.grid(x)
        tries = affordable_queries(budget, len(grid))
        for begin in range(0, tries, _AT_ONCE):
            if not len(standing):
                break
            points = grid[begin : min(begin + _AT_ONCE, tries)]
            tried, some = len(points), len(standing)
            every = points.repeat_interleave(some, dim=0)  # all examples at the first point, then at the second, ...
            drawn = within.render(standing.x.repeat(tried, *[1] * (x.dim() - 1)), every)
            answer = standing.model.query(drawn)
            wrong = ((answer.labels != standing.y.repeat(tried)) & ~answer.refused).view(tried, some)
            standing.fell(wrong.any(dim=0), points[wrong.int().argmax(dim=0)])
        return standing.points

    def refuses(self, within: PerturbationSet) -> str | None:
        """Sets without a grid."""
        return None if within.has_grid else f"{within} has no grid: it has too many coordinates"
