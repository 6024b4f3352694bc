"""Multi steepest descent: at every step, the member of the union whose step raises the objective most.

Maini et al. 2020, section 4.3.  The members are norm balls of one input range, so that a point of one can be stepped
from in another.  A point ends in the member that its last step was taken in.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from redoubt.harden.inner.task import Task
from redoubt.perturb.norms import NormBall
from redoubt.records import PolicyError


def steepest(task: Task, members: Sequence[object], start: Tensor, lengths: Sequence[float]) -> Tensor:
    """The inputs `[B, *shape]` after a step of each length from `start`.

    Args:
        task: the batch.
        members: norm balls.
        start: points `[B, *shape]` of any member.
        lengths: of the steps, as shares of the member's radius.

    Raises:
        PolicyError: a member is no norm ball.
    """
    balls = [ball for ball in members if isinstance(ball, NormBall)]
    if len(balls) < len(members):
        raise PolicyError(
            "unions: steepest joins norm balls only, and this union has another set in it",
            remedy="write unions: worst under harden",
        )
    point = start
    for length in lengths:
        gradient = task.slope(balls[0], point)  # a ball draws a point as it is, so any of them will do
        best, most = point, torch.full_like(point.flatten(1)[:, 0], -torch.inf)
        for ball in balls:
            there = ball.ascend(task.x, ball.project(task.x, point), gradient, length)
            value = task.value(there)
            better = (value > most).view(-1, *[1] * (point.dim() - 1))
            best, most = torch.where(better, there, best), torch.maximum(most, value)
        point = best
    return point.detach()
