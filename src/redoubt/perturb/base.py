"""The sets in which an adversary may move an input.

A set has coordinates of its own: a *point* `[B, ...]` names one perturbed version of each of B inputs, and `render`
draws it.  For norm balls the point is the perturbed input itself; for rotation+translation it is (angle, dx, dy).
Strategies move in these coordinates, so one strategy serves every set.  Lengths of steps are shares of the set's
radius: 1.0 is one radius, whatever its unit.
"""

import abc
import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor


@dataclass(frozen=True)
class Vote:
    """How the judge decides whether a point fools the model, where chance has its say after the adversary.

    Attributes:
        draws: fresh outcomes that the judge draws.
        share: of them, answered wrongly, that make an input count as fooled; 0..1.
    """

    draws: int
    share: float

    def needed(self, draws: int) -> int:
        """How many of that many outcomes must be answered wrongly; at least one.

        >>> Vote(draws=20, share=0.5).needed(5)
        3
        """
        return max(math.ceil(self.share * draws - 1e-9), 1)


_ONCE = Vote(draws=1, share=1.0)


class PerturbationSet(abc.ABC):
    """All the perturbed versions of an input that an adversary may choose from.

    Every verb takes the clean inputs `x` `[B, *shape]` first; B rows in, B rows out.

    Attributes:
        has_grid: whether `grid` covers the set, which is feasible for few coordinates only.
    """

    has_grid: ClassVar[bool] = False

    @property
    def vote(self) -> Vote:
        """How often the judge draws a point; once, where nothing is left to chance."""
        return _ONCE

    def draw(self, x: Tensor, point: Tensor, rng: Generator) -> Tensor:
        """One outcome of the point, `[B, *shape]`; what `render` gives where nothing is left to chance.

        Differentiable in `point`.  `rng` is a CPU generator.
        """
        return self.render(x, point)

    @property
    def smooth(self) -> bool:
        """Whether `render` has a slope worth following in every coordinate that matters."""
        return True

    @abc.abstractmethod
    def start(self, x: Tensor) -> Tensor:
        """The point that leaves `x` unchanged."""

    @abc.abstractmethod
    def render(self, x: Tensor, point: Tensor) -> Tensor:
        """The perturbed inputs `[B, *shape]`, inside the input range; differentiable in `point`."""

    @abc.abstractmethod
    def project(self, x: Tensor, point: Tensor) -> Tensor:
        """A point inside the set: the same one, bit for bit, if `point` is inside; else a near one.  Idempotent."""

    @abc.abstractmethod
    def contains(self, x: Tensor, point: Tensor) -> Tensor:
        """Bool `[B]`: whether the point lies in the set, to within float32 rounding."""

    @abc.abstractmethod
    def size(self, x: Tensor, point: Tensor) -> Tensor:
        """Float `[B]`: how far the point lies from `start`, in units of the radius; at most 1 inside the set."""

    @abc.abstractmethod
    def sample(self, x: Tensor, rng: Generator) -> Tensor:
        """A random point inside the set for each input.  `rng` is a CPU generator."""

    @abc.abstractmethod
    def ascend(self, x: Tensor, point: Tensor, gradient: Tensor, step: float | Tensor) -> Tensor:
        """The point inside the set after a steepest-ascent step along `gradient`.

        From `start`, a step of 1.0 reaches the maximum over the set of the linear function with that gradient.

        Args:
            x: clean inputs `[B, *shape]`.
            point: where to step from, `[B, ...]`.
            gradient: of the loss at `point`, of its shape, finite.
            step: length as a share of the radius, one number or `[B]`.
        """

    @abc.abstractmethod
    def scaled(self, factor: float) -> "PerturbationSet":
        """The set with its radius multiplied by `factor`."""

    def everything(self) -> "PerturbationSet | None":
        """The set grown until it holds every input there is; None if growing does not get there."""
        return None

    def grid(self, x: Tensor) -> Tensor:
        """Points `[G, P]` that cover the set, the same for every input; those of `start` alone without a grid."""
        return self.start(x[:1])

    @property
    @abc.abstractmethod
    def members(self) -> tuple["PerturbationSet", ...]:
        """The sets that this one is the union of; itself alone if it is no union."""

    @abc.abstractmethod
    def __str__(self) -> str:
        """In the field's own notation: `Linf 0.3`, `rotation 30 deg + translation 3 px`."""
