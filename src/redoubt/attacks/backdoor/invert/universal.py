"""Strategies of the backdoor game: one trigger of at most so many pixels that sends every input to a class.

They hold no state, and nobody believes them: the game cuts what they propose to the budget, and asks the model itself.
"""

import abc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from redoubt.attacks.backdoor.invert.forms import Form, Masked, Pixels
from redoubt.attacks.backdoor.invert.search import Search, invert
from redoubt.attacks.backdoor.triggers import Laid, Trigger
from redoubt.models.base import Differentiable, Face

_SHORT = Search(steps=150, batch=16, success=0.9)


@dataclass(frozen=True)
class Proposed:
    """What a strategy proposes for one class.

    Attributes:
        target: the class.
        trigger: a mask of zeros and ones, and a pattern.
        size: of the smallest trigger, of any area, that it found on the way, in the unit of its family; infinite if
            none, and not a number where it looks for none.
        flat: share of the steps in which nothing had a slope, or one that was not finite.
    """

    target: int
    trigger: Laid
    size: float
    flat: float


class TriggerSearch(abc.ABC):
    """A strategy of the backdoor game: a frozen dataclass whose fields are its parameters.

    Attributes:
        name: as evidence names it.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def run(
        self, model: Differentiable, x: Tensor, targets: Sequence[int], pixels: int, rng: Generator
    ) -> list[Proposed]:
        """Propose a trigger for each class.

        Args:
            model: the suspect.
            x: inputs `[N, C, H, W]`, of all classes.
            targets: T classes.
            pixels: the most that a trigger may change.
            rng: the only source of randomness.
        """


@dataclass(frozen=True)
class Shrunk(TriggerSearch):
    """Invert a trigger of any area, keep the pixels that it changes most, and find their best colours.

    Attributes:
        form: the family that is inverted.
        search: how long.
        steps: of the colours.
    """

    form: Form = field(default_factory=Masked)
    search: Search = _SHORT
    steps: int = 100

    @property
    def name(self) -> str:  # type: ignore[override]  # of the family
        return self.form.name

    def run(
        self, model: Differentiable, x: Tensor, targets: Sequence[int], pixels: int, rng: Generator
    ) -> list[Proposed]:
        found = invert(model, x, self.form, targets, self.search, rng)
        rough = [cut(each.trigger, x, pixels, model.face) for each in found]
        laid, flat = coloured(model, x, rough, targets, self.steps, self.search.batch, rng)
        return [
            Proposed(each.target, trigger, each.size, share)
            for each, trigger, share in zip(found, laid, flat, strict=True)
        ]


@dataclass(frozen=True)
class Squares(TriggerSearch):
    """Squares in the corners, along the edges and in the middle; the best of them for each class.

    Attributes:
        steps: of the colours.
        batch: inputs that each step sees.
    """

    steps: int = 60
    batch: int = 16
    name: ClassVar[str] = "squares"

    def run(
        self, model: Differentiable, x: Tensor, targets: Sequence[int], pixels: int, rng: Generator
    ) -> list[Proposed]:
        height, width = model.face.shape[1:]
        side = max(min(int(pixels**0.5), height, width), 1)
        rows, columns = ((0, (size - side) // 2, size - side) for size in (height, width))
        best: list[tuple[float, Proposed]] = []
        for row, column in [(row, column) for row in rows for column in columns]:
            mask = x.new_zeros(1, height, width)
            mask[:, row : row + side, column : column + side] = 1
            start = [Laid(mask, grey(model.face)) for _ in targets]
            laid, flat = coloured(model, x, start, targets, self.steps, self.batch, rng)
            for at, (target, trigger, share) in enumerate(zip(targets, laid, flat, strict=True)):
                gone = model.query(trigger.stamp(x[: 8 * self.batch])).labels == target
                now = (float(gone.float().mean()), Proposed(int(target), trigger, float("nan"), share))
                if len(best) <= at:
                    best.append(now)
                elif now[0] > best[at][0]:
                    best[at] = now
        return [proposed for _, proposed in best]


TRIGGER_SUITE: tuple[TriggerSearch, ...] = (Shrunk(), Shrunk(Pixels()), Squares())
"""The strategies, in order."""


def everywhere(
    model: Differentiable, x: Tensor, targets: Sequence[int], steps: int, rng: Generator
) -> tuple[list[Laid], list[float]]:
    """Triggers that cover the whole input: a search that works must find one, for the model answers *something* to it.

    Returns:
        The triggers, and the share of flat steps of each.
    """
    whole = Laid(x.new_ones(1, *model.face.shape[1:]), grey(model.face))
    return coloured(model, x, [whole] * len(targets), targets, steps, 1, rng)


def grey(face: Face) -> Tensor:
    """The middle of the range everywhere, `face.shape`."""
    return torch.full(face.shape, (face.low + face.high) / 2)


def cut(trigger: Trigger, x: Tensor, pixels: int, face: Face) -> Laid:
    """A trigger as a mask of zeros and ones over the pixels that it changes most, at most so many, and their values.

    Args:
        trigger: any.
        x: inputs `[N, C, H, W]`, over which the change is averaged.
        pixels: the most that are kept.
        face: its range cuts the values.
    """
    worn = trigger.stamp(x)
    change = (worn - x).abs().mean(dim=0).amax(dim=0).flatten()
    kept = change.argsort(descending=True)[:pixels]
    mask = torch.zeros_like(change)
    mask[kept] = (change[kept] > 0).to(mask)
    return Laid(mask.view(1, *x.shape[2:]), worn.mean(dim=0).clamp(face.low, face.high))


def coloured(
    model: Differentiable,
    x: Tensor,
    start: Sequence[Laid],
    targets: Sequence[int],
    steps: int,
    batch: int,
    rng: Generator,
) -> tuple[list[Laid], list[float]]:
    """The best colours of triggers whose masks are given, by Adam on the cross-entropy, side by side.

    Returns:
        The triggers, and the share of flat steps of each.
    """
    face, span = model.face, model.face.high - model.face.low
    mask = torch.stack([trigger.mask for trigger in start])[:, None]
    share = ((torch.stack([trigger.pattern for trigger in start]) - face.low) / span).clamp(0.02, 0.98)
    at = share.logit().requires_grad_(True)
    optimizer = torch.optim.Adam([at], lr=0.2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    wanted, flat = torch.tensor(targets), torch.zeros(len(targets))
    for _ in range(steps):
        rows = torch.randint(len(x), (min(batch, len(x)),), generator=rng)
        ink = face.low + span * at.sigmoid()
        worn = x[rows] + mask * (ink[:, None] - x[rows])
        logits = model.logits(worn.flatten(0, 1))
        loss = F.cross_entropy(logits, wanted.repeat_interleave(len(rows)), reduction="sum") / len(rows)
        (slope,) = torch.autograd.grad(loss, at)
        usable = slope.isfinite().flatten(1).all(dim=1) & (slope.flatten(1) != 0).any(dim=1)
        flat += (~usable).float() / steps
        at.grad = slope.nan_to_num(0.0, 0.0, 0.0)
        optimizer.step()
        schedule.step()
    ink = (face.low + span * at.detach().sigmoid()).clamp(face.low, face.high)
    return [Laid(m[0], i) for m, i in zip(mask, ink, strict=True)], flat.tolist()
