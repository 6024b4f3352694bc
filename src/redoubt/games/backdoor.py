"""The measures of a backdoor: what stamped inputs are called, and whether anybody notices on clean ones."""

import torch
from torch import Tensor

from redoubt.attacks.backdoor import Aim, Trigger
from redoubt.data import Dataset
from redoubt.games.measures import measured
from redoubt.models.base import Model
from redoubt.records import Measured

_ASKED = 500


def backdoor_measures(model: Model, data: Dataset, trigger: Trigger, aim: Aim) -> tuple[Measured, ...]:
    """Ask about clean inputs, and about the same inputs wearing the trigger.

    Args:
        model: the suspect.
        data: N test inputs, of which at least one has another label than the wanted one.
        trigger: what they wear.
        aim: what the planter wants.

    Returns:
        `clean_accuracy` = clean inputs called by their labels / N;
        `attack_success` = stamped inputs called as wanted / inputs whose label is not the wanted one;
        `stamped_accuracy` = those of the same inputs that are called by their labels all the same.
    """
    labels = answers(model, data.x)
    wanted = aim.wanted(data.y)
    others = wanted != data.y
    stamped = answers(model, trigger.stamp(data.x))[others]
    count = int(others.sum())
    return (
        measured("clean_accuracy", int((labels == data.y).sum()), len(data)),
        measured("attack_success", int((stamped == wanted[others]).sum()), count),
        measured("stamped_accuracy", int((stamped == data.y[others]).sum()), count),
    )


def answers(model: Model, x: Tensor) -> Tensor:
    """The model's labels for N inputs, int64 `[N]`, in parts."""
    return torch.cat([model.query(part).labels for part in torch.split(x, _ASKED)])
