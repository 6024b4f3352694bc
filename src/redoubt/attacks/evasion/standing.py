"""Who still stands, inside one run of one attack: only survivors are attacked further."""

import torch
from torch import Tensor

from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.records import Budget


class Standing:
    """The examples not yet fooled, and the points proposed for all.

    Attributes:
        model, x, y: handle, inputs and labels of the S examples still standing.
        rows: their rows in the whole batch, `[S]`.
        points: a proposal for every example of the batch, `[B, ...]`.
    """

    def __init__(self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet) -> None:
        self._whole = model
        self.model, self.x, self.y = model, x, y
        self.rows = torch.arange(len(x), device=x.device)
        self.points = within.start(x).clone()

    def __len__(self) -> int:
        return len(self.rows)

    def propose(self, point: Tensor) -> None:
        """Note the points `[S, ...]` as the best proposals for those still standing."""
        self.points[self.rows] = point

    def fell(self, fooled: Tensor, point: Tensor) -> Tensor | None:
        """Note the points that fooled, bool `[S]`, and go on without those examples.

        Returns:
            Which of the S rows go on, bool `[S]`; None if nobody fell.
        """
        if not fooled.any():
            return None
        self.points[self.rows[fooled]] = point[fooled]
        keep = ~fooled
        self.rows, self.x, self.y = self.rows[keep], self.x[keep], self.y[keep]
        self.model = self._whole.only(self.rows)
        return keep


def affordable(budget: Budget, wanted: int, *, cost: int, extra: int = 0) -> int:
    """How many of `wanted` steps of `cost` passes each the budget buys, after `extra` passes are set aside.

    >>> affordable(Budget(passes=81), 100, cost=2, extra=1)
    40
    """
    return wanted if budget.passes is None else max(0, min(wanted, (budget.passes - extra) // cost))


def affordable_queries(budget: Budget, wanted: int) -> int:
    """How many of `wanted` queries the budget buys."""
    return min(limit for limit in (wanted, budget.passes, budget.queries) if limit is not None)
