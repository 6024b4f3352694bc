"""One face for every model: what goes in, what comes out, and how much of it an adversary may see.

Inputs are float32 tensors `[B, *face.shape]` with every coordinate in `[face.low, face.high]`.  Normalisation happens
behind the face, so perturbation sets and attacks never hear of it.
"""

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple, final

import torch
from torch import Tensor, nn

from redoubt.models.sites import Site
from redoubt.records import Access, ModelError

if TYPE_CHECKING:
    from redoubt.models.adapter import Adapter


@dataclass(frozen=True)
class Face:
    """What one input looks like, and how many classes there are.

    Attributes:
        shape: shape of one input, without the batch.
        low, high: the values that every coordinate may take.
        classes: number of classes, K >= 2.
        labels: K class names.
    """

    shape: tuple[int, ...]
    low: float
    high: float
    classes: int
    labels: tuple[str, ...] = ()

    def name_of(self, label: int) -> str:
        """The class's name, or its index as text."""
        return self.labels[label] if self.labels else str(label)


@dataclass(frozen=True)
class Answer:
    """What a model says to B inputs.

    Attributes:
        labels: int64 `[B]`; -1 where the model refused, or answered NaN, which is no class and so a wrong answer.
        scores: float32 `[B, K]` logits or log-probabilities, or None if only labels are shown; NaN in refused rows.
        refused: bool `[B]`.
        reasons: for each refused row, why.
        asked: `[B, *face.shape]`, what was asked in the inputs' stead, where a handle changed them; else None.
    """

    labels: Tensor
    scores: Tensor | None
    refused: Tensor
    reasons: dict[int, str] = field(default_factory=dict)
    asked: Tensor | None = None

    def only(self, rows: Tensor) -> "Answer":
        """Of some rows, bool `[B]`; reasons are left out."""
        scores = None if self.scores is None else self.scores[rows]
        asked = None if self.asked is None else self.asked[rows]
        return Answer(self.labels[rows], scores, self.refused[rows], {}, asked)

    def to(self, x: Tensor) -> Tensor:
        """The inputs that this answers: `x`, or what was asked in its stead."""
        return x if self.asked is None else self.asked


class Model(abc.ABC):
    """A classifier seen from outside.  A newcomer writes `_scores`; the base owns the checks.

    Attributes:
        face: see `Face`.
        access: the most that this model can show: SCORES, or GRADIENTS for a `Differentiable`.
    """

    access: ClassVar[Access] = Access.SCORES

    def __init__(self, face: Face) -> None:
        self.face = face

    @final
    def query(self, x: Tensor) -> Answer:
        """Answer B inputs `[B, *face.shape]`.

        Raises:
            ModelError: the inputs have another shape, or the model answers another number of rows or classes.
        """
        self._check_inputs(x)
        with torch.no_grad():
            return self._answer(x)

    def _answer(self, x: Tensor) -> Answer:
        """The answer to checked inputs.  For models that can refuse; others write `_scores`."""
        scores = self._scores(x)
        self._check_scores(x, scores)
        labels = torch.where(scores.isnan().any(dim=1), -1, scores.argmax(dim=1))
        return Answer(labels, scores, torch.zeros(len(x), dtype=torch.bool, device=x.device))

    @abc.abstractmethod
    def _scores(self, x: Tensor) -> Tensor:
        """Scores `[B, K]` of checked inputs; the largest is the model's answer."""

    @abc.abstractmethod
    def digest(self) -> str:
        """`sha256:<hex>` over everything that decides the answers."""

    def _check_inputs(self, x: Tensor) -> None:
        if tuple(x.shape[1:]) != self.face.shape:
            raise ModelError(f"inputs have shape {list(x.shape[1:])}, the model takes {list(self.face.shape)}")

    def _check_scores(self, x: Tensor, scores: Tensor) -> None:
        if tuple(scores.shape) != (len(x), self.face.classes):
            raise ModelError(
                f"the model answers {list(scores.shape)} to {len(x)} inputs; expected [{len(x)}, {self.face.classes}]",
                remedy="make `classes` in the policy, or the model's last layer, say the true number of classes",
            )


class Scored(NamedTuple):
    """What a differentiable model computes for B inputs, under autograd.

    logits `[B, K]`; suspicion `[B]`, None where the model has no detector: an input is refused where it is above 0;
    seen: tensors inside the model, where they were asked for.
    """

    logits: Tensor
    suspicion: Tensor | None = None
    seen: Mapping[Site, Tensor] = {}

    @property
    def refused(self) -> Tensor:
        """Bool `[B]`; a suspicion that is NaN refuses."""
        if self.suspicion is None:
            return torch.zeros(len(self.logits), dtype=torch.bool, device=self.logits.device)
        return ~(self.suspicion <= 0)

    def fooled(self, y: Tensor) -> Tensor:
        """Bool `[B]`: answered, and wrongly.  NaN is no class, and so a wrong answer."""
        wrong = (self.logits.argmax(dim=1) != y) | self.logits.isnan().any(dim=1)
        return wrong & ~self.refused


class Differentiable(Model):
    """A model with gradients: `logits` runs under autograd.  One with a detector says so in `scored` too."""

    access: ClassVar[Access] = Access.GRADIENTS

    @property
    def module(self) -> nn.Module | None:
        """The torch module whose parts can be looked into, if there is one."""
        return None

    @property
    def inner(self) -> "tuple[nn.Module, Adapter] | None":
        """The module that computes the scores and what stands before and behind it, if it can be followed."""
        return None

    @abc.abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """Logits `[B, K]` of `[B, *face.shape]`, differentiable in `x`."""

    def scored(self, x: Tensor) -> Scored:
        """Logits, and the suspicion of a detector if there is one; both from one forward pass."""
        return Scored(self.logits(x))

    def _scores(self, x: Tensor) -> Tensor:
        return self.logits(x)
