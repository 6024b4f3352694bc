"""Patches: chance places them, wholly inside, and nobody but the judge knows where."""

import pytest
import torch
from torch import Generator

from redoubt.perturb import LinfBall, Patch, Union, Vote

SETTINGS = {"scale": (0.7, 1.3), "rotation": 45.0, "light": 0.2}


def white(within, x):
    point = within.start(x)
    point[:, 0], point[:, 1:] = 1.0, 1.0
    return point


def test_upright_in_the_middle_it_is_the_patch_itself():
    within = Patch(0.25, 0.0, 1.0)
    x = torch.zeros(1, 1, 8, 8)
    point = torch.cat([torch.ones(1, 1), torch.rand(1, 16, generator=Generator().manual_seed(0))], dim=1)
    drawn = within.render(x, point)
    torch.testing.assert_close(drawn[0, 0, 2:6, 2:6], point[0, 1:].view(4, 4))
    assert float(drawn.sum()) == pytest.approx(float(point[0, 1:].sum()), rel=1e-5)


def test_it_lies_wholly_inside_wherever_chance_wants_it():
    within = Patch(0.1, 0.0, 1.0, scale=(0.7, 1.3), rotation=45.0)
    x = torch.zeros(400, 1, 20, 30)
    drawn = within.draw(x, white(within, x), Generator().manual_seed(0))
    area = drawn.sum(dim=(1, 2, 3)) / 600
    assert (area > 0.8 * 0.1 * 0.7**2).all()
    assert (area < 1.2 * 0.1 * 1.3**2).all()
    assert float(area.std()) > 0.01
    seen = drawn.amax(dim=(0, 1)) > 0.5
    assert seen[3:-3, 3:-3].all()  # every place of the image but its corners
    assert seen[0].any()
    assert seen[-1].any()
    assert seen[:, 0].any()
    assert seen[:, -1].any()


def test_it_covers_what_was_there_and_light_changes_it():
    within = Patch(0.25, -1.0, 1.0, light=0.2)
    x = torch.full((200, 3, 8, 8), 0.5)
    grey = within.start(x)
    grey[:, 0] = 1.0
    drawn = within.draw(x, grey, Generator().manual_seed(0))
    inside = drawn.amin(dim=(1, 2, 3))
    assert float(inside.min()) == pytest.approx(-0.4, abs=0.02)
    assert float(inside.max()) == pytest.approx(0.4, abs=0.02)
    assert (within.draw(x, within.start(x), Generator().manual_seed(0)) == x).all()


def test_the_same_chance_draws_the_same_and_another_draws_elsewhere():
    within = Patch(0.1, 0.0, 1.0, **SETTINGS)
    x = torch.zeros(5, 1, 12, 12)
    first, again, other = (within.draw(x, white(within, x), Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_its_slope_reaches_the_pixels_through_a_placement():
    within = Patch(0.2, 0.0, 1.0, rotation=30.0)
    x = torch.full((2, 1, 10, 10), 0.2)
    leaf = (0.5 * white(within, x)).requires_grad_()
    drawn = within.draw(x, leaf, Generator().manual_seed(3))
    (slope,) = torch.autograd.grad(drawn.sum(), leaf)
    assert (slope[:, 1:] > 0).float().mean() > 0.9


def test_a_union_with_a_patch_is_judged_by_the_strictest_vote():
    union = Union((LinfBall(0.1, 0.0, 1.0), Patch(0.1, 0.0, 1.0, vote=Vote(12, 0.25))))
    assert union.vote == Vote(12, 1.0)
    x = torch.full((2, 1, 10, 10), 0.5)
    both = torch.cat([union.start(x)[:1], union.sample(x, Generator().manual_seed(0))[1:]])
    assert union.draw(x, both, Generator().manual_seed(0)).shape == x.shape


@pytest.mark.parametrize(("share", "draws", "needed"), [(0.5, 20, 10), (0.5, 5, 3), (0.1, 20, 2), (0.01, 20, 1)])
def test_votes_needed(share, draws, needed):
    assert Vote(draws, share).needed(draws) == needed
