"""A training under way: what changes from epoch to epoch, and is saved between them."""

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from redoubt.harden.count import Count
from redoubt.harden.epoch import Epoch
from redoubt.models import TorchModel
from redoubt.records import Recipe

Tensors = dict[str, Tensor]


@dataclass
class Course:
    """All that the rest of a training depends on.

    Attributes:
        model: its weights are trained.
        optimizer: over them.
        averaged: the moving average of the weights, if the recipe asks for one.
        best: state of the best epoch so far, if the recipe keeps the best.
        steps: attack steps per batch; grows where overfitting was found.
        updates: steps of the optimiser so far.
        count: passes so far.
        history: epochs so far.
    """

    model: TorchModel
    optimizer: torch.optim.Optimizer
    averaged: TorchModel | None
    steps: int
    best: Tensors | None = None
    updates: int = 0
    count: Count = field(default_factory=Count)
    history: list[Epoch] = field(default_factory=list)

    @property
    def shown(self) -> TorchModel:
        """The model that is watched and kept: the average, if there is one."""
        return self.averaged or self.model

    def keep(self) -> None:
        """Put into the shown model what is to be kept: the best epoch, where one was."""
        if self.best is not None:
            self.shown.module.load_state_dict(self.best)


def begin(model: TorchModel, recipe: Recipe) -> Course:
    """A training that has not begun."""
    averaged = copy.deepcopy(model) if recipe.average is not None else None
    if averaged is not None:
        averaged.module.eval().requires_grad_(False)
    parameters, rate, decay = model.module.parameters(), recipe.learning_rate, recipe.weight_decay
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=decay)
    else:
        optimizer = torch.optim.Adam(parameters, lr=rate, weight_decay=decay)
    return Course(model, optimizer, averaged, recipe.steps)


@dataclass(frozen=True)
class Snapshot:
    """Copies of all that an epoch changes, so that it can be undone."""

    module: Tensors
    optimizer: dict[str, object]
    averaged: Tensors | None
    updates: int

    @classmethod
    def of(cls, course: Course) -> "Snapshot":
        """Take one."""
        averaged = course.averaged.module.state_dict() if course.averaged else None
        return cls(
            copy.deepcopy(dict(course.model.module.state_dict())),
            copy.deepcopy(course.optimizer.state_dict()),
            copy.deepcopy(dict(averaged)) if averaged is not None else None,
            course.updates,
        )

    def restore(self, course: Course) -> None:
        """Undo; passes stay counted, since they were made."""
        course.model.module.load_state_dict(self.module)
        course.optimizer.load_state_dict(copy.deepcopy(self.optimizer))
        if course.averaged is not None and self.averaged is not None:
            course.averaged.module.load_state_dict(self.averaged)
        course.updates = self.updates
