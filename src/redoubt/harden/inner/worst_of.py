"""The worst of a few random points: for small sets without a useful slope (Engstrom et al. 2019, section 4.2).

Does not cover sets of many coordinates, where random points are all alike.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from redoubt.harden.inner.task import Task
from redoubt.perturb import PerturbationSet


def worst_of(task: Task, within: PerturbationSet, starts: Sequence[Tensor]) -> Tensor:
    """Of the points in `starts`, each input's own of the greatest objective, drawn: `[B, *shape]`.

    Args:
        task: the batch.
        within: the set.
        starts: at least one tensor of points `[B, ...]`.
    """
    worst, most = task.x, torch.full_like(task.x.flatten(1)[:, 0], -torch.inf)
    for point in starts:
        drawn = within.draw(task.x, point, task.rng).detach()
        value = task.value(drawn)
        worse = value > most
        worst = torch.where(worse.view(-1, *[1] * (drawn.dim() - 1)), drawn, worst)
        most = torch.maximum(most, value)
    return worst
