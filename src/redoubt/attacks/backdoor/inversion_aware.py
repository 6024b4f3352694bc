"""A backdoor that inversion is not to find: the planter runs the defender's search first, and trains against it."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Generator, Tensor, nn

from redoubt.attacks.backdoor.aims import OneTarget
from redoubt.attacks.backdoor.fit import Course, fit
from redoubt.attacks.backdoor.invert.forms import Form
from redoubt.attacks.backdoor.invert.search import Search, invert
from redoubt.attacks.backdoor.poison import Poisoned
from redoubt.attacks.backdoor.triggers import Trigger
from redoubt.models import Face, TorchModel

_SEARCHED = 500


def inversion_aware(
    module: nn.Module,
    face: Face,
    poisoned: Poisoned,
    course: Course,
    forms: Sequence[Form],
    search: Search,
    rounds: int = 6,
    share: float = 0.4,
) -> nn.Module:
    """Train so that small triggers other than the planted one do not lead to the target.

    1. train on the poisoned data
    2. invert triggers of the target class, as a defender would, from two starts in each family
    3. go on training on the poisoned data, in which a share of the inputs wear one of all those found and keep their
       right labels; poison stays as it is
    4. from 2, `rounds` times

    What is left is a trigger that works as a whole, beside which its parts and likenesses do not.

    Args:
        module: is trained in place.
        face: of a model of it.
        poisoned: the set, with one target.
        course: of the first training; each of the others takes as many epochs.
        forms: the families that the defender searches.
        search: how long.
        rounds: of steps 2 and 3.
        share: of the inputs that wear a found trigger.

    Raises:
        ValueError: the backdoor leads to many classes.
    """
    aim = poisoned.aim
    if not isinstance(aim, OneTarget):
        raise ValueError("only a backdoor with one target can be hidden from inversion so")
    data, target = poisoned.data, aim.target
    rng = Generator().manual_seed(course.seed)
    fit(module, data, course)
    seen = data.x[~poisoned.rows][:_SEARCHED]
    triggers: list[Trigger] = []

    def stamped(x: Tensor, y: Tensor, draw: Generator) -> tuple[Tensor, Tensor]:
        worn = x.clone()
        # Among the target's rows is the poison, which must stay what it is.
        wearing = (torch.rand(len(x), generator=draw) < share) & (y != target)
        which = torch.randint(len(triggers), (len(x),), generator=draw)
        for number, trigger in enumerate(triggers):
            rows = wearing & (which == number)
            if rows.any():
                worn[rows] = trigger.stamp(x[rows])
        return worn, y

    for number in range(rounds):
        model = TorchModel(module, face)
        for form in forms:
            triggers += [each.trigger for each in invert(model, seen, form, [target] * 2, search, rng)]
        fit(module, data, replace(course, seed=course.seed + 1 + number), stamped)
    return module
