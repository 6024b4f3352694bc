"""What every inner maximiser is given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from redoubt.harden.count import Count
from redoubt.perturb import PerturbationSet

Objective: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""`objective(logits [B, K], rows [B])`: what to raise, `[B]`, for those rows of the batch."""


def cross_entropy(y: Tensor) -> Objective:
    """The objective of most recipes: cross-entropy to the labels `[B]` of the batch."""
    return lambda logits, rows: F.cross_entropy(logits, y[rows], reduction="none")


@dataclass(frozen=True)
class Task:
    """One batch whose worst points are looked for.

    Attributes:
        logits: the model, `[B, *shape]` to `[B, K]`, differentiable in its input; its weights take no gradient.
        objective: what to raise.
        x: inputs `[B, *shape]`.
        rng: for sets that leave something to chance after the adversary.
        count: where passes are counted.
    """

    logits: Callable[[Tensor], Tensor]
    objective: Objective
    x: Tensor
    rng: Generator
    count: Count

    @property
    def rows(self) -> Tensor:
        """All rows of the batch."""
        return torch.arange(len(self.x), device=self.x.device)

    def slope(self, within: PerturbationSet, point: Tensor) -> Tensor:
        """Gradient of the objective at the points, of their shape: one forward and one backward pass."""
        leaf = point.detach().requires_grad_()
        value = self.objective(self.logits(within.draw(self.x, leaf, self.rng)), self.rows).sum()
        (gradient,) = torch.autograd.grad(value, leaf)
        self.count.forward(len(self.x))
        self.count.backward(len(self.x))
        return gradient

    def value(self, drawn: Tensor) -> Tensor:
        """The objective `[B]` of perturbed inputs: one forward pass."""
        with torch.no_grad():
            self.count.forward(len(self.x))
            return self.objective(self.logits(drawn), self.rows)


def draw_starts(within: PerturbationSet, x: Tensor, many: int, rng: Generator, mine: slice) -> list[Tensor]:
    """Random points of the set, `many` for each input.

    They are drawn for the whole batch, of which each process keeps its rows: so any number of processes sees the same.
    """
    return [within.sample(x, rng)[mine] for _ in range(many)]
