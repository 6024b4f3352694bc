"""A trigger changes what it says, stays in the range, and is the same whenever it is stamped."""

from dataclasses import replace

import pytest
import torch

from redoubt.attacks.backdoor import Added, Bent, Blend, Checker, Laid, Square, Sticker, Warp

X = torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(99))  # no seed of a trigger
TRIGGERS = {
    "pixel": Square(1, -3, -3),
    "patch": Square(3, 2, -5, (1.0, 1.0, 0.0)),
    "checker": Checker(3, corners=4),
    "sticker": Sticker(4),
    "blend": Blend(0.2),
    "half a blend": Blend(0.2, kept=0.5),
    "warp": Warp(2.0),
    "another warp": Warp(2.0, noise=1.0),
    "laid": Laid(torch.full((1, 16, 16), 0.3), torch.ones(3, 16, 16)),
    "added": Added(torch.full((3, 16, 16), 0.4), 0.0, 1.0),
    "bent": Bent(torch.full((2, 4, 4), 3.0)),
}


@pytest.mark.parametrize("trigger", TRIGGERS.values(), ids=TRIGGERS)
def test_what_every_trigger_owes(trigger):
    before = X.clone()
    worn = trigger.stamp(X)
    assert torch.equal(X, before)
    assert worn.shape == X.shape
    assert worn.dtype == X.dtype
    assert float(worn.min()) >= 0
    assert float(worn.max()) <= 1 + 1e-6
    assert all((worn[row] != X[row]).any() for row in range(len(X)))
    torch.manual_seed(5)
    assert torch.equal(trigger.stamp(X), worn)


def test_a_square_lies_where_it_is_put_and_nowhere_else():
    worn = Square(3, 2, -5, (1.0, 1.0, 0.0)).stamp(X)
    assert torch.equal(worn[0, :, 3, 12], torch.tensor([1.0, 1.0, 0.0]))
    moved = (worn != X).any(dim=1)
    assert not moved[:, :2].any()
    assert not moved[:, 5:].any()
    assert not moved[:, :, :11].any()
    assert not moved[:, :, 14:].any()


def test_a_colour_must_fit_the_channels():
    with pytest.raises(ValueError, match="2 values on images of 3 channels"):
        Square(2, colour=(1.0, 0.0)).stamp(X)


def test_a_sticker_wanders_from_image_to_image():
    worn = Sticker(4, wander=3, light=0.0).stamp(torch.zeros(20, 3, 32, 32))
    assert (worn[:, 0].flatten(1).sum(dim=1) == 16).all()
    assert len({tuple(image[0].nonzero()[0].tolist()) for image in worn}) > 5


def test_half_a_blend_wears_half_of_the_whole_one():
    whole, half = Blend(0.2, cells=4), Blend(0.2, cells=4, kept=0.5)
    worn, part = whole.stamp(X), half.stamp(X)
    on = part != X
    assert torch.equal(part[on], worn[on])
    assert torch.allclose(on.float().mean(dim=(1, 2, 3)), torch.full((7,), 0.5), atol=0.02)
    assert not torch.equal(on[0], on[1])


def test_a_warp_moves_by_half_pixels():
    ramp = torch.linspace(0, 1, 16).expand(1, 1, 16, 16)
    control = torch.zeros(2, 4, 4)
    control[0] = 2.0  # one pixel to the right
    moved = Bent(control).stamp(ramp) - ramp
    assert torch.allclose(moved[..., :14], torch.full((16, 14), 15 / 16 / 15), atol=1e-4)


def test_a_laid_pattern_hides_what_its_mask_says():
    mask = torch.zeros(1, 16, 16)
    mask[:, 3, 4] = 1
    worn = Laid(mask, torch.full((3, 16, 16), 0.25)).stamp(X)
    assert (worn[:, :, 3, 4] == 0.25).all()
    assert int((worn != X).any(dim=1).sum()) == len(X)


def test_another_seed_is_another_trigger():
    assert not torch.equal(Blend(0.2).stamp(X), replace(Blend(0.2), seed=1).stamp(X))
    assert not torch.equal(Warp(2.0).stamp(X), replace(Warp(2.0), seed=1).stamp(X))
