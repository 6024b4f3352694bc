"""From a recipe's `loss` to what the maximiser raises and to what the weights lower."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from redoubt.harden.count import Count
from redoubt.harden.inner import Objective, cross_entropy
from redoubt.harden.losses.mart import mart
from redoubt.harden.losses.trades import drift, trades
from redoubt.records import Recipe


@dataclass(frozen=True)
class Learnt:
    """A batch to learn from: clean inputs `[B, *shape]`, labels `[B]`, and the worst points found for them."""

    x: Tensor
    y: Tensor
    points: list[Tensor]


def objective_of(
    recipe: Recipe, logits: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, count: Count
) -> tuple[Objective, float]:
    """What the inner maximiser raises, and how much of a random start it takes.

    TRADES starts next to the clean input, since the divergence from its answer has no slope there; all others start
    anywhere in the set.
    """
    if recipe.loss != "trades":
        return cross_entropy(y), 1.0
    with torch.no_grad():
        count.forward(len(x))
        return drift(logits(x)), 0.01


def loss_of(recipe: Recipe, logits: Callable[[Tensor], Tensor], batch: Learnt, count: Count) -> Tensor:
    """Mean loss over the batch, and over the points where there are several; differentiable in the weights."""
    x, y, points = batch.x, batch.y, batch.points
    needs_clean = recipe.loss != "cross-entropy" or recipe.clean_share > 0
    for _ in range(len(points) + needs_clean):
        count.forward(len(x))
        count.backward(len(x))
    clean = logits(x) if needs_clean else None
    total = x.new_zeros(())
    for point in points:
        worst = logits(point)
        if recipe.loss == "cross-entropy" or clean is None:
            loss = F.cross_entropy(worst, y)
        elif recipe.loss == "trades":
            loss = trades(clean, worst, y, recipe.beta).mean()
        else:
            loss = mart(clean, worst, y, recipe.beta).mean()
        total = total + loss / len(points)
    if recipe.loss == "cross-entropy" and clean is not None:
        total = (1 - recipe.clean_share) * total + recipe.clean_share * F.cross_entropy(clean, y)
    return total
