"""Steepest ascent in a set (Madry et al. 2018); with one step, the inner maximiser of fast training (Wong et al. 2020).

Does not cover: restarts, step sizes that adapt.  It is a training attack, not a measurement.
"""

from torch import Tensor

from redoubt.harden.inner.task import Task
from redoubt.perturb import PerturbationSet


def ascend(task: Task, within: PerturbationSet, start: Tensor, steps: int, step: float) -> Tensor:
    """The inputs `[B, *shape]` after `steps` steps from `start`.

    Args:
        task: the batch.
        within: the set.
        start: points of the set, `[B, ...]`.
        steps: how many.
        step: length of each, as a share of the radius.
    """
    point = start
    for _ in range(steps):
        point = within.ascend(task.x, point, task.slope(within, point), step)
    return within.draw(task.x, point, task.rng).detach()
