"""Images stood upright: a fixed change of each image by itself, so that no privacy is spent on it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from redoubt.records import DataError

_BLOCK = 2000
_LEAST = 1e-6


def upright(x: Tensor) -> Tensor:
    """Each image with its ink in the middle and its slant taken off, by its own moments (LeCun et al. 1998, II.C).

    The slant is that of the line which the centres of the rows follow best.  An image is looked at by itself alone:
    whatever is computed from the result is as private as the same thing computed from the images.

    Args:
        x: images of strokes on an empty ground of 0, float32 `[N, C, H, W]`, none of whose values is negative.

    Returns:
        float32 `[N, C, H, W]`; an empty image stays as it is.

    Raises:
        DataError: these are no images, or a value is negative.
    """
    if x.ndim != 4 or float(x.min()) < 0:
        raise DataError(f"inputs {list(x.shape)} are no strokes on an empty ground", remedy="give [N, C, H, W] from 0")
    return torch.cat([_upright(part) for part in torch.split(x, _BLOCK)])


def _upright(x: Tensor) -> Tensor:
    height, width = x.shape[2:]
    across = torch.linspace(-1, 1, width).mul(1 - 1 / width).view(1, 1, -1)  # the middles of the pixels
    down = torch.linspace(-1, 1, height).mul(1 - 1 / height).view(1, -1, 1)
    ink = x.sum(1)
    whole = ink.sum((1, 2)).clamp_min(_LEAST)
    middle = [((ink * axis).sum((1, 2)) / whole) for axis in (across, down)]
    from_middle = [axis - at.view(-1, 1, 1) for axis, at in zip((across, down), middle, strict=True)]
    together = (ink * from_middle[0] * from_middle[1]).sum((1, 2))
    slant = together / (ink * from_middle[1].square()).sum((1, 2)).clamp_min(_LEAST)
    one, none = torch.ones_like(slant), torch.zeros_like(slant)
    rows = [torch.stack([one, slant, middle[0]], dim=1), torch.stack([none, one, middle[1]], dim=1)]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)
