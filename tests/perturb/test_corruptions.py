"""Each kind of corruption grows with its severity, and is what its name says."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from redoubt.perturb import Corruptions
from redoubt.perturb.corruption_kinds import IN_ORDER, WITH_PATTERN
from redoubt.records.within import UNEVEN_CORRUPTIONS


def photo(side=64, channels=3):
    """A smooth picture with edges, `[1, C, S, S]` in 0.1..0.9."""
    at = torch.linspace(0, 3, side)
    smooth = 0.5 + 0.3 * torch.stack([(at[:, None] * (c + 1)).sin() * at.cos() for c in range(channels)])
    smooth[:, side // 4 : side // 2, side // 3 : side // 2] = 0.1
    return smooth[None]


def one(kind, level, pattern=0, images=None):
    images = photo() if images is None else images
    return IN_ORDER[kind](images, torch.full((len(images),), float(level)), torch.full((len(images),), pattern))


@pytest.mark.parametrize("kind", IN_ORDER)
def test_it_does_nothing_at_level_0_and_more_at_every_level(kind):
    x = photo()
    if kind != "jpeg":  # which is left out at level 0 by the set
        torch.testing.assert_close(one(kind, 0), x, atol=1e-5, rtol=0)
    change = [float((one(kind, level) - x).square().mean()) for level in (0, 1, 2, 3, 4, 5)]
    assert min(change[1:]) > 0
    if kind != "pixelate":  # whose edges fall now between the picture's, now on them
        assert change == sorted(change)
        assert change[5] > 1.2 * change[1]


def test_pixelating_leaves_a_quarter_of_the_pixels_of_a_side_at_most():
    drawn = one("pixelate", 5)[0, 0]
    assert len({tuple(row) for row in drawn.tolist()}) == 16
    assert len({tuple(column) for column in drawn.T.tolist()}) == 16


@pytest.mark.parametrize("kind", sorted(set(IN_ORDER) - UNEVEN_CORRUPTIONS))
def test_its_slope_is_that_of_its_severity(kind):
    weights = torch.randn(photo().shape, generator=torch.Generator().manual_seed(1))
    level = torch.tensor([2.4], requires_grad=True)
    value = (IN_ORDER[kind](photo(), level, torch.tensor([1])) * weights).sum()
    (slope,) = torch.autograd.grad(value, level)
    above, below = ((one(kind, at, 1) * weights).sum() for at in (2.42, 2.38))
    assert float(slope) == pytest.approx(float((above - below) / 0.04), rel=0.05, abs=0.02)


@pytest.mark.parametrize("kind", sorted(WITH_PATTERN))
def test_a_pattern_is_the_same_wherever_it_is_asked_for_and_unlike_the_others(kind):
    many = torch.cat([photo()] * 3)
    together = IN_ORDER[kind](many, torch.full((3,), 3.0), torch.tensor([2, 5, 2]))
    assert torch.equal(together[0], together[2])
    torch.testing.assert_close(together[1:2], one(kind, 3, 5))
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_blur_is_a_gaussian_s():
    x = photo(64)
    level, sigma = 5, 6 * 64 / 224
    slow = gaussian_filter(x[0].numpy(), (0, sigma, sigma), mode="nearest", truncate=3.5)
    np.testing.assert_allclose(one("blur", level, images=x)[0].numpy(), slow, atol=4e-3)


def test_noise_has_the_benchmark_s_strength():
    grey = torch.full((1, 1, 64, 64), 0.5)
    assert float(one("noise", 1, images=grey).std()) == pytest.approx(0.08, rel=0.05)
    assert float(one("shot-noise", 3, images=grey).std()) == pytest.approx((0.5 / 12) ** 0.5, rel=0.05)
    assert float((one("impulse-noise", 5, images=grey) != 0.5).float().mean()) == pytest.approx(0.27, rel=0.1)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_pillow_s(channels):
    x = photo(channels=channels)
    values = (x[0] * 255).round().byte().numpy()
    file = io.BytesIO()
    Image.fromarray(values[0] if channels == 1 else values.transpose(1, 2, 0)).save(file, "JPEG", quality=15)
    back = np.asarray(Image.open(file)).reshape(64, 64, channels).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(one("jpeg", 3, images=x)[0].numpy(), back, atol=1e-6)


def test_the_set_keeps_the_strongest_and_no_more_than_may_come_at_once():
    within = Corruptions(("contrast", "blur", "noise"), 3.0, 0.0, 1.0, at_once=2)
    x = photo()
    point = torch.tensor([[0.4, 1.5, 0.3, 2.6]])
    assert not within.contains(x, point).any()
    assert within.project(x, point).tolist() == [[pytest.approx(0.4), 1.0, 0.0, 3.0]]
    assert within.size(x, torch.tensor([[0.1, 0.1, 0.1, 0.0]])).isinf().all()
    drawn = within.render(x, torch.tensor([[1.0, 0.0, 0.5, 2.0]]))
    slow = IN_ORDER["noise"](one("contrast", 3), torch.tensor([1.5]), torch.tensor([2]))
    torch.testing.assert_close(drawn, slow)


def test_the_grid_holds_singles_and_pairs_inside_the_set():
    within = Corruptions(("contrast", "blur", "noise"), 3.0, 0.0, 1.0)
    x = photo()
    grid = within.grid(x)
    assert within.contains(x, grid).all()
    assert len(grid) == 1 + 3 * 5 + 3 + 3 * 4
    assert len({tuple(row) for row in grid.tolist()}) == len(grid)
    assert int((Corruptions(("blur", "noise"), 1.0, 0.0, 1.0, at_once=1).grid(x)[:, :2] > 0).sum(dim=1).max()) == 1


def test_an_input_range_of_its_own_is_kept():
    x = photo() * 2 - 1
    usual, wide = Corruptions(("haze",), 2.0, 0.0, 1.0), Corruptions(("haze",), 2.0, -1.0, 1.0)
    point = torch.tensor([[1.0, 3.0]])
    torch.testing.assert_close(wide.render(x, point), usual.render(photo(), point) * 2 - 1)
