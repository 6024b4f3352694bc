"""Scattering features: fixed wavelets, so that no privacy is spent on learning them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from redoubt.bounds.privacy.extra import needs_privacy
from redoubt.records import DataError

_ANGLES = 8
_BLOCK = 256  # images transformed at once


@dataclass(frozen=True)
class Scattering:
    """The wavelet scattering transform of order 2 (Bruna and Mallat 2013), through kymatio.

    It looks at one image at a time and has no parameters: whatever is computed from the features is as private as the
    same thing computed from the images.

    Attributes:
        scales: J: averages over `2**J` pixels; height and width shrink by that factor.
    """

    scales: int = 2

    def channels(self, shape: tuple[int, int, int]) -> int:
        """Feature maps for images `[C, H, W]`: `C (1 + 8 J + 64 J (J - 1) / 2)`."""
        j = self.scales
        return shape[0] * (1 + _ANGLES * j + _ANGLES**2 * j * (j - 1) // 2)

    @property
    def name(self) -> str:
        """What was done, for the name of a cached file."""
        return f"scattering-{self.scales}"

    def __call__(self, x: Tensor) -> Tensor:
        """Features of images `[B, C, H, W]`, float32 `[B, C', H // 2**J, W // 2**J]`, on the images' device.

        Raises:
            DataError: these are no images, or they are smaller than `2**J` pixels.
            PolicyError: kymatio is not installed.
        """
        if x.ndim != 4 or min(x.shape[2:]) < 2**self.scales:
            raise DataError(
                f"scattering over {2**self.scales} pixels takes images [B, C, H, W], not {list(x.shape)}",
                remedy="give larger images, or fewer scales",
            )
        transform = _transform(self.scales, x.shape[2], x.shape[3]).to(x.device)
        with torch.no_grad():
            parts = [transform(part.contiguous().float()).flatten(1, 2) for part in torch.split(x, _BLOCK)]
        return torch.cat(parts)


def _transform(scales: int, height: int, width: int) -> Any:
    with needs_privacy():
        # Not `kymatio.torch`: its package also loads the spherical transforms, which need functions that scipy dropped.
        from kymatio.scattering2d.frontend.torch_frontend import ScatteringTorch2D
    return ScatteringTorch2D(J=scales, shape=(height, width), L=_ANGLES)
