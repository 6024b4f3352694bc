"""Rotation and translation of images (Engstrom et al. 2019).  A point is (angle in degrees, dx, dy in pixels)."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from redoubt.perturb.base import PerturbationSet


@dataclass(frozen=True)
class Turn(PerturbationSet):
    """Rotate an image about its centre by up to `rotation`, then shift it by up to `translation` along each axis.

    Points are float32 `[B, 3]`: the angle in degrees (positive turns counter-clockwise), then the shift to the right
    and down in pixels.  Images `[B, C, H, W]` are sampled bilinearly; what comes in from outside is `fill`, the low end
    of the input range (black).  Scaling, flips and other warps are not covered.

    Attributes:
        rotation: degrees, 0..180.
        translation: pixels.
        fill: value of pixels from outside the image.
        high: high end of the input range; bilinear sampling never leaves the range by more than rounding.
        degrees_apart, pixels_apart: spacing of `grid`, at most.
    """

    rotation: float
    translation: float
    fill: float
    high: float
    degrees_apart: float = 2.0
    pixels_apart: float = 1.0
    has_grid: ClassVar[bool] = True

    def _radii(self, like: Tensor) -> Tensor:
        return torch.tensor([self.rotation, self.translation, self.translation], dtype=like.dtype, device=like.device)

    def start(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), 3, dtype=x.dtype, device=x.device)

    def render(self, x: Tensor, point: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        angle = point[:, 0] * (math.pi / 180)
        cos, sin = angle.cos(), angle.sin()
        dx, dy = point[:, 1], point[:, 2]
        # For each output pixel p (from the centre, y down) the input pixel is R^-1 (p - shift); grid_sample wants it
        # in units of half the image.
        shift_x, shift_y = -cos * dx + sin * dy, -sin * dx - cos * dy
        rows = [
            cos,
            -sin * (height / width),
            shift_x * (2 / width),
            sin * (width / height),
            cos,
            shift_y * (2 / height),
        ]
        where = F.affine_grid(torch.stack(rows, dim=1).view(-1, 2, 3), list(x.shape), align_corners=False)
        drawn = F.grid_sample(x - self.fill, where, mode="bilinear", padding_mode="zeros", align_corners=False)
        return (drawn + self.fill).clamp(self.fill, self.high)

    def size(self, x: Tensor, point: Tensor) -> Tensor:
        radii = self._radii(point)
        return (
            torch.where(radii > 0, point.abs() / radii.clamp_min(1e-12), point.abs() * torch.inf).nan_to_num(0).amax(1)
        )

    def contains(self, x: Tensor, point: Tensor) -> Tensor:
        return self.size(x, point) <= 1

    def project(self, x: Tensor, point: Tensor) -> Tensor:
        radii = self._radii(point)
        return torch.minimum(torch.maximum(point, -radii), radii)

    def sample(self, x: Tensor, rng: Generator) -> Tensor:
        return (torch.rand(len(x), 3, generator=rng).to(x) * 2 - 1) * self._radii(x)

    def ascend(self, x: Tensor, point: Tensor, gradient: Tensor, step: float | Tensor) -> Tensor:
        length = torch.as_tensor(step, dtype=point.dtype, device=point.device).view(-1, 1)
        return self.project(x, point + gradient.sign() * length * self._radii(point))

    def scaled(self, factor: float) -> Self:
        return replace(self, rotation=min(self.rotation * factor, 180.0), translation=self.translation * factor)

    def grid(self, x: Tensor) -> Tensor:
        """Every combination of angles and shifts, `[G, 3]`, the ends and zero included; the farthest first."""

        def axis(radius: float, apart: float) -> Tensor:
            each_side = math.ceil(radius / apart)
            return torch.linspace(-radius, radius, 2 * each_side + 1)

        angles, shifts = axis(self.rotation, self.degrees_apart), axis(self.translation, self.pixels_apart)
        points = torch.cartesian_prod(angles, shifts, shifts)
        far = self.size(points, points) + points.abs().sum(dim=1) * 1e-3
        return points[far.argsort(descending=True, stable=True)].to(x)

    @property
    def members(self) -> tuple[PerturbationSet, ...]:
        return (self,)

    def __str__(self) -> str:
        parts = [("rotation", self.rotation, "deg"), ("translation", self.translation, "px")]
        return " + ".join(f"{name} {value:.6g} {unit}" for name, value, unit in parts if value)
