"""Families of triggers that inversion searches: how one is written as numbers, worn, and what it costs.

Each family has T triggers at once, one for each target class, whose parameters lie in tensors `[T, ...]`.  Costs have
no unit; they compare the triggers of one family with each other, within one model.
"""

import abc
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.backdoor.triggers import Added, Bent, Laid, Trigger
from redoubt.models.base import Face

Parameters = tuple[Tensor, ...]


class Form(abc.ABC):
    """A family of triggers.

    Attributes:
        name: as evidence names it.
        weight: of the cost, beside the cross-entropy, to begin with.
    """

    name: ClassVar[str]
    weight: ClassVar[float]

    @abc.abstractmethod
    def start(self, face: Face, count: int, rng: Generator) -> Parameters:
        """Parameters of `count` triggers to begin with; leaves without gradients."""

    @abc.abstractmethod
    def worn(self, face: Face, x: Tensor, at: Parameters) -> Tensor:
        """B inputs `[B, C, H, W]` wearing each of the T triggers, `[T, B, C, H, W]`, differentiable in `at`."""

    @abc.abstractmethod
    def cost(self, face: Face, at: Parameters) -> Tensor:
        """What each trigger costs, `[T]`, differentiable."""

    @abc.abstractmethod
    def trigger(self, face: Face, at: Parameters, which: int) -> Trigger:
        """One of them, as a value."""

    def size(self, face: Face, at: Parameters) -> Tensor:
        """How large each trigger is, `[T]`: what is compared in the end."""
        return self.cost(face, at)


@dataclass(frozen=True)
class Masked(Form):
    """A mask and a pattern, the mask's sum being the cost (Neural Cleanse, Wang et al. 2019, section IV).

    Blind to triggers that cover the whole input, and to any that depend on it.
    """

    name: ClassVar[str] = "neural-cleanse"
    weight: ClassVar[float] = 1e-2

    def start(self, face: Face, count: int, rng: Generator) -> Parameters:
        mask = 0.5 * torch.randn(count, 1, *face.shape[1:], generator=rng) - 1.0
        return mask, torch.randn(count, *face.shape, generator=rng)

    def worn(self, face: Face, x: Tensor, at: Parameters) -> Tensor:
        mask, pattern = self._of(face, at)
        return x + mask[:, None] * (pattern[:, None] - x)

    def cost(self, face: Face, at: Parameters) -> Tensor:
        return at[0].sigmoid().flatten(1).sum(dim=1)

    def trigger(self, face: Face, at: Parameters, which: int) -> Trigger:
        mask, pattern = self._of(face, at)
        return Laid(mask[which].detach(), pattern[which].detach())

    def _of(self, face: Face, at: Parameters) -> tuple[Tensor, Tensor]:
        return at[0].sigmoid(), face.low + (face.high - face.low) * at[1].sigmoid()


@dataclass(frozen=True)
class Pixels(Form):
    """What is added and what is taken away, apart, under a smooth count of the pixels (Tao et al. 2022, section 3).

    No mask that multiplies a pattern, so the search does not get stuck where one of the two is right and the other is
    not: it finds smaller triggers than `Masked`, and of all shapes.
    """

    name: ClassVar[str] = "pixel"
    weight: ClassVar[float] = 1e-2

    def start(self, face: Face, count: int, rng: Generator) -> Parameters:
        return tuple(torch.randn(count, *face.shape, generator=rng) - 3.0 for _ in range(2))

    def worn(self, face: Face, x: Tensor, at: Parameters) -> Tensor:
        return (x + self._delta(face, at)[:, None]).clamp(face.low, face.high)

    def cost(self, face: Face, at: Parameters) -> Tensor:
        # A tenth of the slope, as in the paper: the count falls smoothly long after the pixel itself is nearly gone.
        counted = [((side / 10).tanh() / 2 + 0.5).amax(dim=1) for side in at]
        return torch.stack(counted).sum(dim=0).flatten(1).sum(dim=1)

    def size(self, face: Face, at: Parameters) -> Tensor:
        """L1 norm over pixels of the greatest change of a channel, as a share of the range."""
        delta = self._delta(face, at).detach() / (face.high - face.low)
        return delta.abs().amax(dim=1).flatten(1).sum(dim=1)

    def trigger(self, face: Face, at: Parameters, which: int) -> Trigger:
        return Added(self._delta(face, at)[which].detach(), face.low, face.high)

    def _delta(self, face: Face, at: Parameters) -> Tensor:
        up, down = (side.tanh() / 2 + 0.5 for side in at)
        return (up - down) * (face.high - face.low)


@dataclass(frozen=True)
class Spread(Form):
    """One perturbation of small Euclidean length, over the whole input: what blended triggers look like."""

    name: ClassVar[str] = "spread"
    weight: ClassVar[float] = 0.1

    def start(self, face: Face, count: int, rng: Generator) -> Parameters:
        return (1e-2 * torch.randn(count, *face.shape, generator=rng),)

    def worn(self, face: Face, x: Tensor, at: Parameters) -> Tensor:
        return (x + at[0][:, None] * (face.high - face.low)).clamp(face.low, face.high)

    def cost(self, face: Face, at: Parameters) -> Tensor:
        return at[0].flatten(1).square().sum(dim=1).add(1e-12).sqrt()

    def trigger(self, face: Face, at: Parameters, which: int) -> Trigger:
        return Added(at[0][which].detach() * (face.high - face.low), face.low, face.high)


@dataclass(frozen=True)
class Bending(Form):
    """A smooth field that bends every image alike: what warping triggers look like.

    Attributes:
        cells: control points to a side.
    """

    cells: int = 4
    name: ClassVar[str] = "bending"
    weight: ClassVar[float] = 0.1

    def start(self, face: Face, count: int, rng: Generator) -> Parameters:
        return (0.3 * torch.randn(count, 2, self.cells, self.cells, generator=rng),)

    def worn(self, face: Face, x: Tensor, at: Parameters) -> Tensor:
        return torch.stack([Bent(control).stamp(x) for control in at[0]])

    def cost(self, face: Face, at: Parameters) -> Tensor:
        """Mean displacement of the control points, in half pixels."""
        return at[0].square().sum(dim=1).add(1e-12).sqrt().flatten(1).mean(dim=1)

    def trigger(self, face: Face, at: Parameters, which: int) -> Trigger:
        return Bent(at[0][which].detach())


FORMS: tuple[Form, ...] = (Masked(), Pixels(), Spread(), Bending())
"""The families of a scan, from the oldest to the widest."""
