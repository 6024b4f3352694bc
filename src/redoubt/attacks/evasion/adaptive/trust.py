"""Whether a gradient is worth following: whether steps along it raise the objective by the model's own answers."""

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.adaptive.climb import Manner, draw
from redoubt.attacks.evasion.adaptive.objectives import Aims
from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet

_TRIES = 4
_STEP = 0.3  # of the radius: as attacks step, and far enough for parts that round
_AGAIN = 8  # draws of a random model's answer before and after
_MOVES = 0.1  # of the steps, that must move the objective: votes and codes of few levels move now and then
TRUSTED = 0.75  # share of the steps that must pay; along a direction that means nothing half of them do


def cost(manner: Manner) -> int:
    """Passes that `paying` costs each example, at most."""
    return _TRIES * (manner.cost(1) + 2 * (_AGAIN if manner.random else 1))


def paying(
    model: Metered, x: Tensor, rows: Tensor, within: PerturbationSet, aims: Aims, manner: Manner, rng: Generator
) -> float:
    """Of the steps from random points of the set that move the objective, the share that raise it.

    Steps from points where nothing is left to climb, since the example is fooled there, are not counted; with none to
    count the share is 1.  It is 0 where the objective seldom moves at all.

    Args:
        model: the handle for exactly these examples.
        x: clean inputs `[B, *shape]`.
        rows: their rows in `aims`.
        within: the set.
        aims: labels and targets.
        manner: how gradients are taken.
        rng: CPU generator.
    """
    objective = aims.climbed(manner.objective, rows)
    again = _AGAIN if manner.random else 1

    def height(point: Tensor) -> tuple[Tensor, Tensor]:
        seen = [model.scored(within.render(x, point)) for _ in range(again)]
        fooled = torch.stack([one.fooled(aims.y[rows]) for one in seen]).all(dim=0)
        return torch.stack([objective(one) for one in seen]).mean(dim=0), fooled

    paid = moved = counted = 0
    for _ in range(_TRIES):
        point = within.sample(x, rng)
        slopes = [draw(model, x, rows, within, aims, manner, point, rng).gradient for _ in range(manner.samples)]
        before, fooled = height(point)
        after, _ = height(within.ascend(x, point, torch.stack(slopes).mean(dim=0), _STEP))
        counted += int((~fooled).sum())
        moved += int(((after != before) & ~fooled).sum())
        paid += int(((after > before) & ~fooled).sum())
    if not counted:
        return 1.0
    return paid / moved if moved > _MOVES * counted else 0.0
