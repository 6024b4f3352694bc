"""Steepest ascent in a set (Madry et al. 2018); with one step, the inner maximiser of fast training (Wong et al. 2020).

Does not cover: restarts, step sizes that adapt.  It is a training attack, not a measurement.
"""

from collections.abc import Sequence

from torch import Tensor

from redoubt.harden.inner.task import Task
from redoubt.perturb import PerturbationSet


def ascend(task: Task, within: PerturbationSet, start: Tensor, lengths: Sequence[float]) -> Tensor:
    """The inputs `[B, *shape]` after a step of each length from `start`.

    Args:
        task: the batch.
        within: the set.
        start: points of the set, `[B, ...]`.
        lengths: of the steps, as shares of the radius.
    """
    point = start
    for length in lengths:
        point = within.ascend(task.x, point, task.slope(within, point), length)
    return within.draw(task.x, point, task.rng).detach()
