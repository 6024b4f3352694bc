"""Adversarial patches that chance places: position, size, turn and light (Brown et al. 2017; Athalye et al. 2018)."""

import math
from dataclasses import dataclass, replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from redoubt.perturb.base import PerturbationSet, Vote

_HALF_OF_TWENTY = Vote(draws=20, share=0.5)


@dataclass(frozen=True)
class Patch(PerturbationSet):
    """A square patch of any pixels, laid over the image where chance wants it.

    The adversary prints the patch; then nature draws its place, uniform over those where it lies wholly inside, its
    size, turn and light.  `draw` is one such outcome, `render` the patch upright in the middle.  An input counts as
    fooled by the share of fresh outcomes that `vote` says, which the adversary has not seen.

    A point is `[B, 1 + C * S * S]`: 1 if the patch is laid down, else 0; then its pixels, S to a side.  Other shapes,
    perspective, bent surfaces, shadows and the colours that a printer cannot print are not covered.

    Attributes:
        area: of the patch at scale 1, as a share of the image's.
        low, high: the input range.
        scale: least and greatest factor on the patch's side.
        rotation: degrees, either way.
        light: what is added to all pixels of the patch, at most, either way, as a share of the input range.
        vote: how many outcomes the judge draws, and what share of them must be answered wrongly;
            at least two outcomes, or nobody would know that chance had a say.
    """

    area: float
    low: float
    high: float
    scale: tuple[float, float] = (1.0, 1.0)
    rotation: float = 0.0
    light: float = 0.0
    vote: Vote = _HALF_OF_TWENTY

    def side(self, x: Tensor) -> int:
        """Pixels to a side of the patch, for images like `x` `[B, C, H, W]`."""
        return max(round(math.sqrt(self.area * x.shape[-2] * x.shape[-1])), 1)

    def start(self, x: Tensor) -> Tensor:
        grey = (self.low + self.high) / 2
        return torch.cat([x.new_zeros(len(x), 1), x.new_full((len(x), x.shape[1] * self.side(x) ** 2), grey)], dim=1)

    def render(self, x: Tensor, point: Tensor) -> Tensor:
        none = x.new_zeros(len(x))
        return self._laid(x, point, none + 1, none, none, none, none)

    def draw(self, x: Tensor, point: Tensor, rng: Generator) -> Tensor:
        least, greatest = self.scale
        chance = torch.rand(5, len(x), generator=rng).to(x)
        either = chance * 2 - 1
        scale = least + (greatest - least) * chance[0]
        angle = either[1] * (self.rotation * math.pi / 180)
        reach = scale * (self.side(x) / 2) * (angle.cos().abs() + angle.sin().abs())
        right, down = (
            either[at] * (size / 2 - reach).clamp_min(0) for at, size in ((2, x.shape[-1]), (3, x.shape[-2]))
        )
        return self._laid(x, point, scale, angle, right, down, either[4] * self.light)

    def _laid(
        self, x: Tensor, point: Tensor, scale: Tensor, angle: Tensor, right: Tensor, down: Tensor, light: Tensor
    ) -> Tensor:
        """The image under the patch: turned by `angle` in radians, its centre `right` and `down` of the image's."""
        height, width = x.shape[-2:]
        side = self.side(x)
        cos, sin = angle.cos(), angle.sin()
        unit = 2 / (scale * side)  # patch coordinates run from -1 to 1
        rows = [
            cos * unit * (width / 2),
            -sin * unit * (height / 2),
            (-cos * right + sin * down) * unit,
            sin * unit * (width / 2),
            cos * unit * (height / 2),
            (-sin * right - cos * down) * unit,
        ]
        pixels = point[:, 1:].reshape(len(x), x.shape[1], side, side)
        layers = torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=1)
        theta = torch.stack(rows, dim=1).view(-1, 2, 3)
        where = F.affine_grid(theta, [len(x), layers.shape[1], height, width], align_corners=False)
        drawn = F.grid_sample(layers, where, mode="bilinear", padding_mode="zeros", align_corners=False)
        laid = point[:, 0].view(-1, 1, 1, 1)
        cover, ink = laid * drawn[:, -1:], laid * drawn[:, :-1]
        lit = ink + cover * (light * (self.high - self.low)).view(-1, 1, 1, 1)
        return (x * (1 - cover) + lit.clamp(cover * self.low, cover * self.high)).clamp(self.low, self.high)

    def project(self, x: Tensor, point: Tensor) -> Tensor:
        return torch.cat([(point[:, :1] >= 0.5).to(point), point[:, 1:].clamp(self.low, self.high)], dim=1)

    def contains(self, x: Tensor, point: Tensor) -> Tensor:
        laid, pixels = point[:, 0], point[:, 1:]
        return ((laid == 0) | (laid == 1)) & ((pixels >= self.low) & (pixels <= self.high)).all(dim=1)

    def size(self, x: Tensor, point: Tensor) -> Tensor:
        """1 where the patch is laid down: a patch is there or not."""
        return point[:, 0]

    def sample(self, x: Tensor, rng: Generator) -> Tensor:
        """Patches of random pixels in half of the cases, of one random colour in the other."""
        channels, side = x.shape[1], self.side(x)
        noise = torch.rand(len(x), channels, side * side, generator=rng)
        plain = torch.rand(len(x), channels, 1, generator=rng).round().expand_as(noise)
        which = torch.rand(len(x), 1, 1, generator=rng) < 0.5
        pixels = self.low + (self.high - self.low) * torch.where(which, noise, plain).flatten(1).to(x)
        return self.project(x, torch.cat([x.new_ones(len(x), 1), pixels], dim=1))

    def ascend(self, x: Tensor, point: Tensor, gradient: Tensor, step: float | Tensor) -> Tensor:
        """The pixels move by that share of half the input range; the patch is laid down."""
        length = torch.as_tensor(step, dtype=point.dtype, device=point.device).view(-1, 1)
        pixels = point[:, 1:] + gradient[:, 1:].sign() * length * ((self.high - self.low) / 2)
        return self.project(x, torch.cat([torch.ones_like(point[:, :1]), pixels], dim=1))

    def scaled(self, factor: float) -> Self:
        """With the area multiplied; what chance does stays."""
        return replace(self, area=min(self.area * factor, 1.0))

    @property
    def members(self) -> tuple[PerturbationSet, ...]:
        return (self,)

    def __str__(self) -> str:
        least, greatest = self.scale
        parts = [f"patch {100 * self.area:.6g} %"]
        parts += [f"scale {least:.6g} to {greatest:.6g}"] if (least, greatest) != (1, 1) else []
        parts += [f"rotation {self.rotation:.6g} deg"] if self.rotation else []
        parts += [f"light {self.light:.6g}"] if self.light else []
        return ", ".join([*parts, "placed anywhere"])
