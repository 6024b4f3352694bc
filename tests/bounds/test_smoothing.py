"""Randomised smoothing against classifiers whose smoothed answers and radii are known."""

import pytest
import torch
from scipy.special import ndtr
from torch import nn

from redoubt.bounds import ABSTAINED, Smoothed, largest_radius, noisy_loss
from redoubt.bounds.certificates.smoothing import at_least

ALPHA = 0.05


def half_space(distance):
    """Answers 1 beyond a plane that lies that far from 0: the smoothed answer at 0 is 0, its radius the distance."""
    return lambda x: (x.flatten(1)[:, 0] > distance).long()


def many(base, runs, draws=200, classes=2):
    """The same input certified again and again, with fresh noise."""
    smoothed = Smoothed(base, sigma=0.5, classes=classes)
    return smoothed.certify(torch.zeros(runs, 3), 20, draws, ALPHA, torch.Generator().manual_seed(0))


def test_the_radius_is_seldom_too_large_and_the_plain_estimate_often_is():
    distance = 0.4
    runs = 600
    found = many(half_space(distance), runs)
    assert bool((found.label[found.radius > 0] == 0).all())
    too_large = int((found.radius > distance).sum())
    assert too_large <= ALPHA * runs + 4 * (ALPHA * (1 - ALPHA) * runs) ** 0.5
    assert float(found.radius.median()) > 0.7 * distance  # and it is no lazy bound
    counts = [Smoothed(half_space(distance), 0.5, 2).counts(torch.zeros(3), 200, torch.Generator().manual_seed(s))[0]
              for s in range(100)]  # fmt: skip
    plain = sum(float(count) / 200 > ndtr(distance / 0.5) for count in counts)
    assert plain > 20  # what this test must be able to refuse


def test_a_planted_model_that_mostly_answers_otherwise_is_seldom_certified_as_it_answers_without_noise():
    """Without noise the answer is 0; under noise it is 1 in 52 of 100 draws."""
    wrong = half_space(-0.025)
    base = lambda x: torch.where((x.abs() < 1e-9).flatten(1).all(dim=1), 0, wrong(x))  # noqa: E731
    assert int(base(torch.zeros(1, 3))) == 0
    runs = 600
    found = many(base, runs)
    certified_0 = int(((found.label == 0) & (found.radius > 0)).sum())
    assert certified_0 <= ALPHA * runs + 4 * (ALPHA * (1 - ALPHA) * runs) ** 0.5
    assert int((found.label == ABSTAINED).sum()) > runs / 2


def test_a_coin_is_abstained_on():
    coin = Smoothed(half_space(0.0), 0.5, 2)
    labels = coin.predict(torch.zeros(200, 3), 100, ALPHA, torch.Generator().manual_seed(1))
    assert float((labels == ABSTAINED).float().mean()) >= 1 - 2 * ALPHA
    sure = coin.predict(torch.full((5, 3), 2.0), 100, ALPHA, torch.Generator().manual_seed(1))
    assert sure.tolist() == [1] * 5


def test_abstentions_count_as_wrong_and_radii_as_they_are():
    found = many(half_space(0.4), 20)
    assert found.accuracy(torch.zeros(20, dtype=torch.int64), 0.0) <= 1.0
    assert found.accuracy(torch.zeros(20, dtype=torch.int64), 10.0) == 0.0
    assert found.accuracy(torch.ones(20, dtype=torch.int64), 0.0) == 0.0
    coin = many(half_space(0.0), 20)
    abstained = coin.label == ABSTAINED
    assert coin.accuracy(coin.label.clamp_min(0), 0.0) <= 1 - float(abstained.float().mean())


def test_every_draw_agreeing_gives_the_largest_radius_and_no_more():
    found = many(lambda x: torch.zeros(len(x), dtype=torch.int64), 3)
    assert torch.allclose(found.radius, torch.full((3,), largest_radius(0.5, 200, ALPHA)).double())
    assert at_least(200, 200, ALPHA) < 1


def test_refusals_are_votes_for_nobody():
    found = many(lambda x: torch.full((len(x),), -1), 3)
    assert found.label.tolist() == [ABSTAINED] * 3
    assert found.radius.tolist() == [0.0] * 3


@pytest.mark.parametrize(("alpha", "draws"), [(0.0, 10), (1.0, 10), (0.1, 0)])
def test_numbers_that_make_no_sense_are_refused(alpha, draws):
    with pytest.raises(ValueError, match="alpha"):
        Smoothed(half_space(0.4), 0.5, 2).certify(torch.zeros(1, 3), 10, draws, alpha, torch.Generator())


def test_training_under_noise_makes_the_answer_under_noise_right():
    torch.manual_seed(0)
    y = torch.arange(200) % 2
    x = torch.randn(200, 8) * 0.1 + y[:, None] * 1.0
    net, rng = nn.Linear(8, 2), torch.Generator().manual_seed(0)
    first = float(noisy_loss(net, x, y, 0.5, rng).detach())
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        noisy_loss(net, x, y, 0.5, rng).backward()
        optimizer.step()
    assert float(noisy_loss(net, x, y, 0.5, rng).detach()) < 0.5 * first
    smoothed = Smoothed(lambda z: net(z).argmax(dim=1), 0.5, 2)
    assert smoothed.certify(x[:10], 50, 500, 0.01, rng).accuracy(y[:10], 0.5) == 1.0
