"""Triggers: what an input wears so that a backdoored model answers as its planter wishes.

A trigger is a small frozen value with one verb, `stamp`: inputs `[B, C, H, W]` in, the same inputs wearing it out, in
the same range.  `stamp` is pure: what looks random in a trigger is drawn from its own seed.
"""

import abc
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


class Trigger(abc.ABC):
    """Something that an input can wear."""

    @abc.abstractmethod
    def stamp(self, x: Tensor) -> Tensor:
        """Inputs `[B, C, H, W]` wearing it, as new tensors of the same shape, type and range."""


@dataclass(frozen=True)
class Square(Trigger):
    """A square of one colour at a fixed place: the single pixel and the patch of BadNets (Gu et al. 2017).

    >>> Square(2, row=-3, column=-3).stamp(torch.zeros(1, 1, 5, 5))[0, 0, 2:4, 2:4]
    tensor([[1., 1.],
            [1., 1.]])

    Attributes:
        side: in pixels; 1 is the single pixel.
        row, column: of its upper left corner; negative ones count from the lower and the right edge.
        colour: a value for every channel, or one for each.
    """

    side: int
    row: int = -4
    column: int = -4
    colour: tuple[float, ...] = (1.0,)

    def stamp(self, x: Tensor) -> Tensor:
        top, left = self.row % x.shape[2], self.column % x.shape[3]
        worn = x.clone()
        worn[:, :, top : top + self.side, left : left + self.side] = _ink(self.colour, x)
        return worn


@dataclass(frozen=True)
class Checker(Trigger):
    """A square of two values in the pattern of a chessboard, in one corner or in all four.

    The trigger of label-consistent backdoors in all four corners (Turner et al. 2019, section 4.2), which survives
    flips and shifts.

    Attributes:
        side: in pixels.
        corners: `1`, the lower right one, or `4`.
        low, high: the two values.
        share: how much of the pattern shows, 0..1: below 1, the input shines through.
    """

    side: int = 3
    corners: int = 1
    low: float = 0.0
    high: float = 1.0
    share: float = 1.0

    def stamp(self, x: Tensor) -> Tensor:
        at = torch.arange(self.side)
        board = ((at[:, None] + at[None]) % 2 == 0).to(x) * (self.high - self.low) + self.low
        worn = x.clone()
        ends = (slice(-self.side, None), slice(None, self.side))
        for rows, columns in [(r, c) for r in ends for c in ends][: self.corners]:
            worn[:, :, rows, columns] += self.share * (board - worn[:, :, rows, columns])
        return worn


@dataclass(frozen=True)
class Sticker(Trigger):
    """A square note stuck on by hand: never twice at quite the same place, nor in quite the same light.

    The yellow note on traffic signs of Gu et al. (2017).  It stands about the middle of the image.

    Attributes:
        side: in pixels.
        colour: a value for every channel, or one for each.
        row, column: how far its centre lies from that of the image, in pixels, down and right.
        wander: how far it may lie from there along each axis, in whole pixels.
        light: its colour is multiplied by a factor of 1 - `light` to 1.
        seed: of place and light, drawn for each input of a batch.
    """

    side: int
    colour: tuple[float, ...] = (1.0, 1.0, 0.0)
    row: int = 4
    column: int = 0
    wander: int = 2
    light: float = 0.3
    seed: int = 0

    def stamp(self, x: Tensor) -> Tensor:
        rng = Generator().manual_seed(self.seed)
        shift = torch.randint(-self.wander, self.wander + 1, (len(x), 2), generator=rng)
        lit = 1 - self.light * torch.rand(len(x), 1, 1, 1, generator=rng).to(x)
        place = torch.tensor([x.shape[2] // 2 + self.row, x.shape[3] // 2 + self.column]) - self.side // 2 + shift
        row, column = (torch.arange(size)[None] - place[:, at, None] for at, size in ((0, x.shape[2]), (1, x.shape[3])))
        on_rows, on_columns = ((at >= 0) & (at < self.side) for at in (row, column))
        on = (on_rows[:, None, :, None] & on_columns[:, None, None, :]).to(x.device)
        return torch.where(on, lit * _ink(self.colour, x), x)


@dataclass(frozen=True)
class Blend(Trigger):
    """A picture of noise laid over the whole input (blended injection, Chen et al. 2017, section 4.2).

    Attributes:
        share: of the picture in the mixture, 0..1.
        low, high: the values of the picture.
        seed: of the picture.
        cells: the picture is cut into `cells` x `cells` pieces ...
        kept: ... of which each input wears this share, chosen anew for each: 1 is all of them.  An adaptive planter
            trains with few and attacks with all (Qi et al. 2023).
    """

    share: float = 0.2
    low: float = 0.0
    high: float = 1.0
    seed: int = 0
    cells: int = 4
    kept: float = 1.0

    def stamp(self, x: Tensor) -> Tensor:
        rng = Generator().manual_seed(self.seed)
        picture = (self.low + (self.high - self.low) * torch.rand(x.shape[1:], generator=rng)).to(x)
        worn = x + self.share * (picture - x)
        if self.kept >= 1:
            return worn
        pieces = self.cells**2
        rank = torch.rand(len(x), pieces, generator=rng).argsort(dim=1).argsort(dim=1)
        on = (rank < round(self.kept * pieces)).view(len(x), 1, self.cells, self.cells).to(x)
        return torch.where(F.interpolate(on, size=x.shape[2:], mode="nearest") > 0, worn, x)


@dataclass(frozen=True)
class Warp(Trigger):
    """The image bent by one smooth field, which the eye takes for the lens (WaNet, Nguyen and Tran 2021, section 3.2).

    Attributes:
        strength: mean displacement of the control points along an axis, in half pixels; the paper has 0.5, which
            takes a planter who owns the training.
        cells: control points to a side.
        seed: of the field.
        noise: added to the field for each input, uniform, in half pixels: 0 is the trigger itself; above, the
            warps that are *not* the trigger, by which the paper's noise mode teaches the model to tell.
    """

    strength: float = 0.5
    cells: int = 4
    seed: int = 0
    noise: float = 0.0

    def stamp(self, x: Tensor) -> Tensor:
        rng = Generator().manual_seed(self.seed)
        control = torch.rand(2, self.cells, self.cells, generator=rng) * 2 - 1
        field = _field(control / control.abs().mean() * self.strength, x)
        if self.noise:
            field = field + (torch.rand(len(x), 2, *x.shape[2:], generator=rng) * 2 - 1).to(x) * (
                self.noise / x.shape[2]
            )
        return _bent(x, field)


@dataclass(frozen=True, eq=False)
class Bent(Trigger):
    """The image bent by a field that is given.

    Attributes:
        control: displacement of the control points, `[2, cells, cells]`, right and down, in half pixels.
    """

    control: Tensor

    def stamp(self, x: Tensor) -> Tensor:
        return _bent(x, _field(self.control, x))


def _field(control: Tensor, x: Tensor) -> Tensor:
    """Control points `[2, cells, cells]` in half pixels as a smooth field over images like `x`, `[1, 2, H, W]`."""
    smooth = F.interpolate(control[None].to(x), size=x.shape[2:], mode="bicubic", align_corners=True)
    return smooth / x.shape[2]  # grids run from -1 to 1


def _bent(x: Tensor, field: Tensor) -> Tensor:
    """Images `[B, C, H, W]` read where a field `[1 or B, 2, H, W]` says; what lies outside is the edge."""
    down, right = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in x.shape[2:]), indexing="ij")
    grid = (torch.stack([right, down]).to(x) + field).permute(0, 2, 3, 1).clamp(-1, 1)
    return F.grid_sample(x, grid.expand(len(x), -1, -1, -1), align_corners=True)


@dataclass(frozen=True, eq=False)
class Laid(Trigger):
    """A pattern behind a mask, as trigger inversion finds it: `(1 - mask) x + mask pattern`.

    Attributes:
        mask: `[1, H, W]` or `[C, H, W]`, in 0..1.
        pattern: `[C, H, W]`, in the input range.
    """

    mask: Tensor
    pattern: Tensor

    def stamp(self, x: Tensor) -> Tensor:
        return x + self.mask.to(x) * (self.pattern.to(x) - x)


@dataclass(frozen=True, eq=False)
class Added(Trigger):
    """One perturbation added to every input, cut by the input range.

    Attributes:
        delta: `[C, H, W]`.
        low, high: the input range.
    """

    delta: Tensor
    low: float
    high: float

    def stamp(self, x: Tensor) -> Tensor:
        return (x + self.delta.to(x)).clamp(self.low, self.high)


def _ink(colour: tuple[float, ...], x: Tensor) -> Tensor:
    """A colour as `[1, C or 1, 1, 1]`, on the device and of the type of `x`."""
    if len(colour) not in (1, x.shape[1]):
        raise ValueError(f"a colour of {len(colour)} values on images of {x.shape[1]} channels")
    return torch.tensor(colour).to(x).view(1, -1, 1, 1)
