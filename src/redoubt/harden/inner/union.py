"""The worst points of a set or of a union of sets, by a recipe (Tramer and Boneh 2019, section 3)."""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from redoubt.harden.inner.ascend import ascend
from redoubt.harden.inner.steepest import steepest
from redoubt.harden.inner.task import Task, draw_starts
from redoubt.harden.inner.worst_of import worst_of
from redoubt.perturb import PerturbationSet
from redoubt.records import Recipe

Starts = Callable[[PerturbationSet, int], list[Tensor]]


def starts_for(x: Tensor, rng: Generator, mine: slice, spread: float = 1.0) -> Starts:
    """How the maximisers draw their random points.

    Args:
        x: all inputs of the batch.
        rng: a CPU generator.
        mine: the rows that are kept.
        spread: points are drawn from the set of that share of the radius.
    """

    def draw(within: PerturbationSet, many: int) -> list[Tensor]:
        return draw_starts(within if spread == 1.0 else within.scaled(spread), x, many, rng, mine)

    return draw


def worst_points(task: Task, within: PerturbationSet, recipe: Recipe, steps: int, starts: Starts) -> list[Tensor]:
    """Perturbed inputs `[B, *shape]` to learn from: one tensor, or one for each member where the loss is their average.

    Args:
        task: the batch.
        within: the set.
        recipe: `attack`, `unions` and what goes with them.
        steps: attack steps, which may have been raised above the recipe's.
        starts: see `starts_for`.
    """
    if recipe.attack == "none":
        return [task.x]
    members = within.members
    lengths = recipe.step_lengths(steps)
    if len(members) == 1 or recipe.unions == "random":
        return [_worst(task, within, recipe, lengths, starts)]
    if recipe.unions == "steepest":
        return [steepest(task, members, starts(members[0], 1)[0], lengths)]
    drawn = [_worst(task, member, recipe, lengths, starts) for member in members]
    if recipe.unions == "average":
        return drawn
    values = torch.stack([task.value(each) for each in drawn])
    return [torch.stack(drawn)[values.argmax(dim=0), task.rows]]


def _worst(task: Task, within: PerturbationSet, recipe: Recipe, lengths: Sequence[float], starts: Starts) -> Tensor:
    if recipe.attack == "worst-of-k":
        return worst_of(task, within, starts(within, recipe.tries))
    return ascend(task, within, starts(within, 1)[0], lengths)
