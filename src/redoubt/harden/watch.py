"""Accuracy of a model in training on a few examples: unperturbed, and under a short attack."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from redoubt.data import Dataset
from redoubt.harden.count import Count
from redoubt.harden.inner import Task, ascend, cross_entropy, draw_starts, worst_of
from redoubt.models import TorchModel
from redoubt.perturb import PerturbationSet
from redoubt.records import Recipe

_CHUNK = 500


@dataclass(frozen=True)
class Watched:
    """Shares 0..1 of the examples watched that are answered rightly."""

    clean: float
    robust: float


def watch(
    model: TorchModel,
    data: Dataset,
    within: PerturbationSet,
    recipe: Recipe,
    steps: int,
    rng: Generator,
    device: torch.device,
) -> Watched:
    """Under the recipe's kind of attack with that many steps, in each member of a union.

    An input counts as robust if it withstands every member.
    """
    clean = robust = 0
    for x, y in zip(torch.split(data.x, _CHUNK), torch.split(data.y, _CHUNK), strict=True):
        there, labels = x.to(device), y.to(device)
        right = _right(model, there, labels)
        clean += int(right.sum())
        for member in within.members:
            right &= _right(model, _attacked(model, there, labels, member, recipe, steps, rng), labels)
        robust += int(right.sum())
    return Watched(clean / len(data), robust / len(data))


def _right(model: TorchModel, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return model.logits(x).argmax(dim=1) == y


def _attacked(
    model: TorchModel,
    x: Tensor,
    y: Tensor,
    within: PerturbationSet,
    recipe: Recipe,
    steps: int,
    rng: Generator,
) -> Tensor:
    task = Task(model.logits, cross_entropy(y), x, rng, Count())
    if recipe.attack == "worst-of-k":
        return worst_of(task, within, draw_starts(within, x, 2 * recipe.tries, rng, slice(None)))
    lengths = recipe.step_lengths(steps) if recipe.falling else (2.5 / steps,) * steps
    return ascend(task, within, draw_starts(within, x, 1, rng, slice(None))[0], lengths)
