"""Attacks that see labels only (Choquette-Choo et al. 2021, "Label-only membership inference attacks").

A model is wrong about fewer changed copies of what it was trained on.  Images are shifted as augmentation shifts them
(section 3.2); anything can have noise added, by which the distance to the decision boundary is estimated where a search
for the nearest point of it would cost too much (section 3.3, as done there for tables).

Not covered: the search for the boundary itself, and models of the adversary's own to calibrate against.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.membership.base import MembershipAttack, View
from redoubt.models.base import Face
from redoubt.records import Access


@dataclass(frozen=True)
class LabelAugmentation(MembershipAttack):
    """How many shifted copies of an image get its label; the image itself weighs as much as all copies.

    `shift`: every shift of up to so many pixels along both axes is asked about.
    """

    shift: int = 2

    name: ClassVar[str] = "label-augmentation"
    needs: ClassVar[Access] = Access.LABEL
    shadowed: ClassVar[bool] = False

    def refuses(self, face: Face) -> str | None:
        return None if len(face.shape) == 3 else "only images can be shifted"

    def variants(self, x: Tensor, face: Face, rng: Generator) -> Tensor:
        reach = range(-self.shift, self.shift + 1)
        moves = [(0, 0), *((down, right) for down in reach for right in reach if (down, right) != (0, 0))]
        return torch.stack([_shifted(x, down, right, face.low) for down, right in moves], dim=1)

    def scores(self, view: View) -> Tensor:
        return _share_right(view)


@dataclass(frozen=True)
class LabelNoise(MembershipAttack):
    """How many noised copies of a record get its label; the record itself weighs as much as all copies.

    Gaussian noise whose standard deviation grows evenly to `noise`, a share of the input range, over the `copies`; the
    same noise for every record.  Copies stay in the range.
    """

    copies: int = 40
    noise: float = 0.8

    name: ClassVar[str] = "label-noise"
    needs: ClassVar[Access] = Access.LABEL
    shadowed: ClassVar[bool] = False

    def variants(self, x: Tensor, face: Face, rng: Generator) -> Tensor:
        drawn = torch.randn(self.copies, *x.shape[1:], generator=rng)
        size = torch.arange(1, self.copies + 1) / self.copies * self.noise * (face.high - face.low)
        moved = x.unsqueeze(1) + drawn * size.view(-1, *[1] * (x.dim() - 1))
        return torch.cat([x.unsqueeze(1), moved.clamp(face.low, face.high)], dim=1)

    def scores(self, view: View) -> Tensor:
        return _share_right(view)


def _share_right(view: View) -> Tensor:
    right = view.target.right.double()
    if right.shape[1] < 2:
        raise ValueError("the target was not asked about changed copies")
    return right[:, 0] + right[:, 1:].mean(dim=1)


def _shifted(x: Tensor, down: int, right: int, fill: float) -> Tensor:
    """Images `[N, C, H, W]` shifted by whole pixels; what comes in from outside is `fill`."""
    height, width = x.shape[-2:]
    out = torch.full_like(x, fill)
    to_rows, from_rows = _spans(down, height)
    to_columns, from_columns = _spans(right, width)
    out[..., to_rows, to_columns] = x[..., from_rows, from_columns]
    return out


def _spans(move: int, size: int) -> tuple[slice, slice]:
    move = max(-size, min(size, move))
    return slice(max(move, 0), size + min(move, 0)), slice(max(-move, 0), size - max(move, 0))
