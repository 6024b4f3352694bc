"""Two sets one after the other: what only both together can do, and walls that hold nobody."""

import torch

from redoubt.models.base import Face
from redoubt.perturb import L2Ball, LinfBall, Then, Turn
from redoubt.perturb.build import build_set
from redoubt.records import WithinTurn

TURN = Turn(30, 2, fill=0.0, high=1.0)


def test_it_draws_the_turned_image_and_the_move_on_top():
    within = Then(TURN, LinfBall(0.1, 0.0, 1.0))
    x = torch.rand(3, 1, 6, 7, generator=torch.Generator().manual_seed(0))
    turned = torch.tensor([[20.0, 1.0, -1.0]]).expand(3, 3)
    move = torch.full_like(x, 0.07)
    drawn = within.render(x, torch.cat([turned, move.flatten(1)], dim=1))
    torch.testing.assert_close(drawn, (TURN.render(x, turned) + 0.07).clamp(0, 1))


def test_a_value_at_the_wall_comes_off_it_when_the_slope_turns():
    within = Then(TURN, LinfBall(0.2, 0.0, 1.0))
    x = torch.zeros(1, 1, 4, 4)
    point = within.start(x)
    point[:, 3:] = -0.2  # as a random start has it: far below black
    leaf = point.clone().requires_grad_()
    (slope,) = torch.autograd.grad(within.render(x, leaf).sum(), leaf)
    assert (slope[:, 3:] == 1).all()
    there = within.ascend(x, point, slope, 0.5)
    torch.testing.assert_close(within.render(x, there), torch.full_like(x, 0.1))


def test_a_euclidean_move_is_not_spent_on_values_at_the_wall():
    within = Then(TURN, L2Ball(0.5, 0.0, 1.0))
    x = torch.zeros(1, 1, 4, 4)
    slope = torch.full((1, 19), -1.0)
    slope[:, 3] = 1e-3  # the only value that can go where the slope points
    drawn = within.render(x, within.ascend(x, within.start(x), slope, 1.0))
    assert abs(float(drawn.flatten()[0]) - 0.5) < 1e-4


def test_outside_of_either_is_outside():
    within = Then(TURN, LinfBall(0.1, 0.0, 1.0))
    x = torch.full((4, 1, 3, 3), 0.5)
    point = within.start(x)
    point[1, 0] = 31.0
    point[2, 5] = 0.11
    point[3, 0], point[3, 5] = 29.0, -0.09
    assert within.contains(x, point).tolist() == [True, False, False, True]


def test_a_policy_builds_it():
    within = WithinTurn(rotation="30 deg", translation="3 px", then={"norm": "linf", "radius": 0.1})
    built = build_set(within, Face((1, 28, 28), 0.0, 1.0, 10))
    assert str(built) == "rotation 30 deg + translation 3 px, then Linf 0.1"
    assert str(built.scaled(2.0)) == "rotation 60 deg + translation 6 px, then Linf 0.2"
