"""How far and how fast: the learning rate and the radius over the course of training."""

import math

from redoubt.perturb import PerturbationSet
from redoubt.records import Recipe


def rate(recipe: Recipe, done: float) -> float:
    """The learning rate when a share `done` (0..1) of all training is done."""
    if recipe.schedule == "constant":
        share = 1.0
    elif recipe.schedule == "steps":
        share = 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01
    elif recipe.schedule == "triangle":
        share = max(done / 0.3, 0.01) if done < 0.3 else (1 - done) / 0.7
    else:
        share = 0.5 * (1 + math.cos(math.pi * done))
    return recipe.learning_rate * share


def grown(recipe: Recipe, number: int) -> float:
    """What the radius is multiplied by in the epoch of that number, from 1.

    The set grows over the warm-up: a model that starts in a large Linf ball learns to ignore its input.
    """
    return recipe.radius * min(1.0, number / (recipe.warmup + 1))


def in_epoch(within: PerturbationSet, recipe: Recipe, number: int) -> PerturbationSet:
    """The set of that epoch."""
    factor = grown(recipe, number)
    return within if factor == 1.0 else within.scaled(factor)
