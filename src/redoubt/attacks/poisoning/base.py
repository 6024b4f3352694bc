"""The one open type of the poisoning room, and what an adversary has to go by."""

import abc
import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from redoubt.attacks.poisoning.surrogate import Surrogate
from redoubt.data import Dataset, digest_of


@dataclass(frozen=True)
class Target:
    """One input whose answer is to become another, after training on poison.

    Attributes:
        x: float32 `[*shape]`.
        y: what it is, and what a model of clean data says.
        wanted: what it is to be called.
    """

    x: Tensor
    y: int
    wanted: int


@dataclass(frozen=True)
class Scene:
    """What the adversary has: the training data, models of its own of the victim's kind, and how far it may go.

    It does not have the victim, whose initial weights and order of batches it does not know.

    Attributes:
        data: the clean training data, N rows.
        classes: K.
        span: least and greatest value of an input.
        most: rows that it may change, at least 1.
        radius: how far a changed input may be from the clean one, in each value; None for the whole range.
        surrogates: models that it trained on the clean data by the victim's recipe; at least one.
        passing: bool `[N, K]`: whether row n with label k gets past a check of the data that it knows; None if it knows
            none.
    """

    data: Dataset
    classes: int
    span: tuple[float, float]
    most: int
    surrogates: tuple[Surrogate, ...]
    radius: float | None = None
    passing: Tensor | None = None

    def may(self) -> Tensor:
        """Bool `[N, K]`: the labels that each row may be given."""
        if self.passing is not None:
            return self.passing
        return torch.ones(len(self.data), self.classes, dtype=torch.bool)

    def clamp(self, x: Tensor, clean: Tensor) -> Tensor:
        """The nearest inputs that are allowed."""
        low, high = self.span
        if self.radius is not None:
            x = torch.maximum(torch.minimum(x, clean + self.radius), clean - self.radius)
        return x.clamp(low, high)


@dataclass(frozen=True)
class PoisonedSet:
    """A training set with poison in it.

    Attributes:
        data: the set, as a trainer gets it, in the order of the clean one.
        rows: bool `[N]`, the rows that were changed.
    """

    data: Dataset
    rows: Tensor


class NothingToChangeError(ValueError):
    """There is no row that a strategy may change, or none of which a change would help."""


class PoisoningAttack(abc.ABC):
    """A strategy that changes some rows of the training data.

    Write a frozen dataclass whose fields are the attack's parameters, and `poison`: a pure function, which makes the
    same poison for the same scene, target and seed.

    Attributes:
        name: as evidence and policies name it.
        flips: whether it gives rows wrong labels; else labels stay, and inputs are changed.
        aimless: whether it can be played without a target, to make the model worse at everything.
    """

    name: ClassVar[str]
    flips: ClassVar[bool]
    aimless: ClassVar[bool]

    @abc.abstractmethod
    def poison(self, scene: Scene, target: Target | None, seed: int) -> PoisonedSet:
        """Change at most `scene.most` rows.

        Args:
            scene: what the adversary has.
            target: what is to be answered otherwise; None to lower accuracy, for attacks that are `aimless`.
            seed: of whatever is drawn.

        Raises:
            NothingToChangeError: there is no row that it could change.
            ValueError: it takes a target, and there is none.
            ModelError: the surrogates do not let themselves be differentiated.
        """

    @property
    def parameters(self) -> dict[str, bool | int | float | str | None]:
        """The dataclass fields, for the evidence."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)  # type: ignore[arg-type]  # every strategy is a dataclass
        }


def rows_allowed(share: float, rows: int) -> int:
    """How many rows a share of them is, rounded down, so that it is never more than the share.

    >>> rows_allowed(0.01, 1437), rows_allowed(0.01, 50)
    (14, 0)
    """
    return math.floor(share * rows * (1 + 1e-12))


def changed(scene: Scene, x: Tensor, y: Tensor) -> PoisonedSet:
    """The poisoned set of these inputs and labels; rows that are as they were do not count as changed."""
    before = scene.data
    rows = (x != before.x).flatten(1).any(dim=1) | (y != before.y)
    return PoisonedSet(Dataset(x, y, before.source, digest_of(x, y)), rows)
