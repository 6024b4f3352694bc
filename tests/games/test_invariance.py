"""Balls that hold inputs of another class, planted."""

import pytest
import torch

from redoubt.games import find_invariance
from redoubt.games.invariance import others_in
from redoubt.models import CallableModel, Face
from redoubt.perturb import L1Ball, L2Ball, LinfBall

FACE = Face((1, 6, 6), 0.0, 1.0, 3)
BALLS = [LinfBall(0.1, 0.0, 1.0), L2Ball(0.4, 0.0, 1.0), L1Ball(1.5, 0.0, 1.0)]


def planted(ball, seed=0, count=12, trained=300):
    """Test inputs, training inputs far from all of them, and, for every other test input, one of another class near."""
    rng = torch.Generator().manual_seed(seed)
    x = 0.3 + 0.4 * torch.rand(count, 1, 6, 6, generator=rng)
    y = torch.arange(count) % 3
    train_x = (torch.rand(trained, 1, 6, 6, generator=rng) < 0.5).float()
    train_y = torch.randint(3, (trained,), generator=rng)
    near = torch.arange(0, count, 2)
    move = torch.randn(len(near), 1, 6, 6, generator=rng)
    move *= (0.9 * ball.radius / ball.length(move)).view(-1, 1, 1, 1)
    train_x[near * 7], train_y[near * 7] = x[near] + move, (y[near] + 1) % 3
    # and one of the same class nearer still, which does not count
    train_x[near * 7 + 1], train_y[near * 7 + 1] = x[near] + 0.1 * move, y[near]
    return x, y, train_x, train_y


def constant_at(x, y):
    """A model that answers everything with the label of the nearest test input: invariant to all small changes."""
    return CallableModel(
        lambda batch: torch.nn.functional.one_hot(y[torch.cdist(batch.flatten(1), x.flatten(1)).argmin(1)], 3).float(),
        FACE,
        takes="torch",
    )


@pytest.mark.parametrize("ball", BALLS, ids=str)
def test_planted_inputs_of_another_class_are_found_and_no_others(ball):
    x, y, train_x, train_y = planted(ball)
    found = find_invariance(constant_at(x, y), x, y, train_x, train_y, ball)
    assert found.inside.tolist() == [row % 2 == 0 for row in range(12)]
    assert found.other[::2].tolist() == [7 * row for row in range(0, 12, 2)]
    assert torch.equal(found.moved[::2], train_x[found.other[::2]])
    assert ball.contains(x, found.moved).all()
    assert found.kept.sum() == 6  # it answers them all with the old label


@pytest.mark.parametrize("ball", BALLS, ids=str)
def test_a_model_that_follows_the_training_labels_keeps_none(ball):
    x, y, train_x, train_y = planted(ball)
    follows = constant_at(train_x, train_y)
    found = find_invariance(follows, x, y, train_x, train_y, ball)
    assert found.inside.sum() == 6
    assert not found.kept.any()


@pytest.mark.parametrize("ball", BALLS, ids=str)
@pytest.mark.parametrize("seed", [1, 2])
def test_whether_any_lies_inside_agrees_with_comparing_all(ball, seed):
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(20, 1, 6, 6, generator=rng)
    train_x = (x.repeat(20, 1, 1, 1) + ball.radius * 0.2 * torch.randn(400, 1, 6, 6, generator=rng)).clamp(0, 1)
    y, train_y = torch.randint(3, (20,), generator=rng), torch.randint(3, (400,), generator=rng)
    other = others_in(x, y, train_x, train_y, ball)
    assert (train_y[other] != y).all()
    for row in range(20):
        wrong = train_x[train_y != y[row]]
        anything = bool(ball.contains(x[[row]].expand(len(wrong), 1, 6, 6), wrong).any())
        assert bool(ball.contains(x[[row]], train_x[other[[row]]])[0]) == anything


def test_training_data_of_one_class_are_refused():
    x, y, train_x, _ = planted(BALLS[0])
    with pytest.raises(ValueError, match="another class"):
        others_in(x, y, train_x, torch.zeros(300, dtype=torch.int64), BALLS[0])
