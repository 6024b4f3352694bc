"""What can befall an image: each kind of corruption as a function of its severity.

Every function takes images `[B, C, H, W]` in 0..1, a level `[B]` from 0 (nothing) to 5, and the number of a random
pattern, int64 `[B]`; it gives images in 0..1.  Levels 1 to 5 have the constants of ImageNet-C (Hendrycks and Dietterich
2019, `make_imagenet_c.py`), with lengths taken as shares of its 224 pixels; what lies between is interpolated.

Where it departs from ImageNet-C: shot noise is the normal approximation of the Poisson's, motion blurs both ways, haze
is built of octaves of smooth noise, and saturation only fades, as the benchmark's levels for it do not grow in order.
Frost, snow, glass, zoom, elastic and spatter are not covered.
"""

import io
import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

from redoubt.records.within import CorruptionKind

Corrupt = Callable[[Tensor, Tensor, Tensor], Tensor]

_SIDE = 224  # of the benchmark's images


def _graded(level: Tensor, none: float, levels: Sequence[float]) -> Tensor:
    """The kind's constant at that level `[B]`, shaped to scale images; differentiable."""
    table = torch.tensor([none, *levels], dtype=level.dtype, device=level.device)
    below = level.detach().floor().long().clamp(0, len(levels) - 1)
    return torch.lerp(table[below], table[below + 1], level - below).view(-1, 1, 1, 1)


# ── the scene ────────────────────────────────────────────────────────────────────────────────────────────────────


def haze(images: Tensor, level: Tensor, pattern: Tensor) -> Tensor:
    """Bright fog of uneven thickness."""
    thickness = _graded(level, 0, (1.5, 2, 2.5, 2.5, 3))
    return (images + thickness * _patterns(_fog, images, pattern)) / (1 + thickness)


def brightness(images: Tensor, level: Tensor, _: Tensor) -> Tensor:
    """Every value raised by the same amount."""
    return (images + _graded(level, 0, (0.1, 0.2, 0.3, 0.4, 0.5))).clamp(0, 1)


def contrast(images: Tensor, level: Tensor, _: Tensor) -> Tensor:
    """Every value drawn towards its channel's mean."""
    mean = images.mean(dim=(2, 3), keepdim=True)
    return mean + (images - mean) * _graded(level, 1, (0.4, 0.3, 0.2, 0.1, 0.05))


def saturation(images: Tensor, level: Tensor, _: Tensor) -> Tensor:
    """Colours faded towards grey."""
    grey = images.mean(dim=1, keepdim=True)
    return grey + (images - grey) * _graded(level, 1, (0.8, 0.6, 0.4, 0.2, 0))


# ── the lens ─────────────────────────────────────────────────────────────────────────────────────────────────────


def blur(images: Tensor, level: Tensor, _: Tensor) -> Tensor:
    """A Gaussian's."""
    sigma, rows, columns = _lens(images, level, (1, 2, 3, 4, 6), reach=3)
    return _filtered(images, _bell(rows, sigma) * _bell(columns, sigma))


def defocus(images: Tensor, level: Tensor, _: Tensor) -> Tensor:
    """A disk's, as a lens out of focus has it, with an edge of one pixel."""
    radius, rows, columns = _lens(images, level, (3, 4, 6, 8, 10), reach=1)
    distance = (rows**2 + columns**2).sqrt()
    return _filtered(images, (radius + 1 - distance).clamp(0, 1))


def motion_blur(images: Tensor, level: Tensor, pattern: Tensor) -> Tensor:
    """A line's, in the direction that the pattern gives."""
    sigma, rows, columns = _lens(images, level, (3, 5, 8, 12, 15), reach=4 / 3)
    angle = (pattern.to(level) * (math.pi * 0.618)).view(-1, 1, 1, 1)  # the golden share spreads any number of them
    along = rows * angle.sin() + columns * angle.cos()
    across = columns * angle.sin() - rows * angle.cos()
    return _filtered(images, _bell(along, sigma) * (1 - across.abs()).clamp(0, 1))


def _lens(images: Tensor, level: Tensor, levels: Sequence[float], reach: float) -> tuple[Tensor, Tensor, Tensor]:
    """The kind's length in pixels `[B, 1, 1, 1]`, and the rows and columns of a kernel that holds `reach` of it."""
    scale = min(images.shape[-2:]) / _SIDE
    length = _graded(level, 0, [size * scale for size in levels])
    half = math.ceil(reach * levels[-1] * scale) + 1
    steps = torch.arange(-half, half + 1, dtype=level.dtype, device=level.device)
    return length, steps.view(1, 1, -1, 1), steps.view(1, 1, 1, -1)


def _bell(distance: Tensor, sigma: Tensor) -> Tensor:
    return torch.exp(-(distance**2) / (2 * sigma.clamp_min(0.05) ** 2))  # below that, only the centre counts


def _filtered(images: Tensor, kernel: Tensor) -> Tensor:
    """Each image `[B, C, H, W]` under its own kernel `[B, 1, k, k]`, whose sum does not matter."""
    kernel = kernel / kernel.sum(dim=(2, 3), keepdim=True)
    count, channels = images.shape[:2]
    half = kernel.shape[-1] // 2
    padded = F.pad(images, (half,) * 4, mode="replicate").flatten(0, 1)[None]
    drawn = F.conv2d(padded, kernel.repeat_interleave(channels, dim=0), groups=count * channels)
    return drawn.view_as(images).clamp(0, 1)


# ── the sensor ───────────────────────────────────────────────────────────────────────────────────────────────────


def noise(images: Tensor, level: Tensor, pattern: Tensor) -> Tensor:
    """Gaussian, of the same strength everywhere."""
    return (images + _graded(level, 0, (0.08, 0.12, 0.18, 0.26, 0.38)) * _patterns(_normal, images, pattern)).clamp(
        0, 1
    )


def shot_noise(images: Tensor, level: Tensor, pattern: Tensor) -> Tensor:
    """Of few photons: stronger where it is bright."""
    strength = _graded(level, 0, [photons**-0.5 for photons in (60, 25, 12, 5, 3)])
    root = (images + 1e-4).sqrt() - 1e-2  # a slope of infinity at black would be lost
    return (images + strength * root * _patterns(_normal, images, pattern + _OTHER)).clamp(0, 1)


def impulse_noise(images: Tensor, level: Tensor, pattern: Tensor) -> Tensor:
    """Salt and pepper: some values go to either end."""
    share = _graded(level, 0, (0.03, 0.06, 0.09, 0.17, 0.27)) / 2
    chance = _patterns(_uniform, images, pattern)
    return torch.where(chance < share, 1.0, torch.where(chance > 1 - share, 0.0, images))


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────


def pixelate(images: Tensor, level: Tensor, _: Tensor) -> Tensor:
    """Drawn with fewer pixels, and enlarged again."""
    height, width = images.shape[-2:]
    shares = _graded(level, 1, (0.6, 0.5, 0.4, 0.3, 0.25)).flatten()
    drawn = images
    for rows in (shares * height).round().long().clamp_min(1).unique().tolist():  # type: ignore[no-untyped-call]
        mine = ((shares * height).round().long().clamp_min(1) == rows).nonzero().squeeze(1)
        small = F.interpolate(images[mine], size=(rows, max(round(rows * width / height), 1)), mode="area")
        drawn = drawn.index_copy(0, mine, F.interpolate(small, size=(height, width), mode="nearest-exact"))
    return drawn


def jpeg(images: Tensor, level: Tensor, _: Tensor) -> Tensor:
    """Compressed as JPEG and read back, in 8 bits; what is not three channels, each channel by itself as grey."""
    qualities = _graded(level, 100, (25, 18, 15, 10, 7)).flatten().round().long().tolist()
    drawn = images.detach().clone()
    for row, quality in enumerate(qualities):
        if level[row] > 0:
            drawn[row] = _compressed(drawn[row], quality)
    return images + (drawn - images).detach()  # what came before keeps its slope


def _compressed(image: Tensor, quality: int) -> Tensor:
    values = (image * 255).round().byte().cpu().numpy()
    planes = [values.transpose(1, 2, 0)] if len(values) == 3 else list(values)
    read = []
    for plane in planes:
        file = io.BytesIO()
        Image.fromarray(plane).save(file, "JPEG", quality=quality)
        read.append(np.asarray(Image.open(file)))
    back = read[0].transpose(2, 0, 1) if len(values) == 3 else np.stack(read)
    return torch.from_numpy(back.copy()).to(image) / 255


# ── patterns ─────────────────────────────────────────────────────────────────────────────────────────────────────

_OTHER = 1_000  # shot noise and Gaussian noise of one pattern are not the same noise
_Field = Callable[[tuple[int, ...], Generator], Tensor]


def _normal(shape: tuple[int, ...], rng: Generator) -> Tensor:
    return torch.randn(shape, generator=rng)


def _uniform(shape: tuple[int, ...], rng: Generator) -> Tensor:
    return torch.rand(shape, generator=rng)


def _fog(shape: tuple[int, ...], rng: Generator) -> Tensor:
    """Smooth noise in 0..1, the same in all channels: octaves that halve in size and in weight."""
    field = torch.zeros(1, 1, *shape[1:])
    for octave in range(4):
        coarse = torch.rand(1, 1, 2**octave + 1, 2**octave + 1, generator=rng)
        field += F.interpolate(coarse, size=shape[1:], mode="bilinear", align_corners=True) / 2**octave
    field -= field.min()
    return (field / field.max().clamp_min(1e-6))[0].expand(shape)


@lru_cache(maxsize=256)
def _field(kind: _Field, shape: tuple[int, ...], pattern: int) -> Tensor:
    return kind(shape, Generator().manual_seed(pattern))


def _patterns(kind: _Field, images: Tensor, pattern: Tensor) -> Tensor:
    """Each image's own pattern, `[B, C, H, W]`: a number stands for the same one wherever it is asked for."""
    numbers, which = pattern.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    fields = [_field(kind, tuple(images.shape[1:]), int(number)) for number in numbers]
    return torch.stack(fields).to(images)[which]


IN_ORDER: dict[CorruptionKind, Corrupt] = {
    "haze": haze,
    "brightness": brightness,
    "contrast": contrast,
    "saturation": saturation,
    "defocus": defocus,
    "motion-blur": motion_blur,
    "blur": blur,
    "shot-noise": shot_noise,
    "noise": noise,
    "impulse-noise": impulse_noise,
    "pixelate": pixelate,
    "jpeg": jpeg,
}
"""All kinds, in the order in which they befall an image: the scene, the lens, the sensor, the file."""

WITH_PATTERN: frozenset[CorruptionKind] = frozenset({"haze", "motion-blur", "shot-noise", "noise", "impulse-noise"})
"""Kinds with a random pattern, or a direction, that the adversary may choose."""
