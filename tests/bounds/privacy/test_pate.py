"""Costs of votes: those of a twin written word for word from the paper, its authors' recorded values, and limits."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from redoubt.bounds.privacy.pate import (
    laplace_max,
    log_passes,
    log_q_gaussian,
    log_q_laplace,
    noisy_max,
    threshold_check,
)
from redoubt.bounds.privacy.smooth import check_sensitivity, must_be_smooth, release_cost, smoothed, vote_sensitivity
from redoubt.records import PolicyError


def twin(votes, sigma, order):
    """Theorem 6 of Papernot et al. 2018 in plain numbers, with proposition 7's q and proposition 10's orders."""
    best = max(range(len(votes)), key=lambda j: votes[j])
    q = sum(math.erfc((votes[best] - votes[j]) / (2 * sigma)) / 2 for j in range(len(votes)) if j != best)
    mu2 = sigma * math.sqrt(math.log(1 / q))
    mu1 = mu2 + 1
    e1, e2 = mu1 / sigma**2, mu2 / sigma**2
    if not (mu1 >= order and mu2 > 1 and q <= math.exp((mu2 - 1) * e2) / (mu1 / (mu1 - 1) * mu2 / (mu2 - 1)) ** mu2):
        return order / sigma**2
    a = (1 - q) / (1 - (q * math.exp(e2)) ** ((mu2 - 1) / mu2))
    b = math.exp(e1) / q ** (1 / (mu1 - 1))
    return min(order / sigma**2, math.log((1 - q) * a ** (order - 1) + q * b ** (order - 1)) / (order - 1))


@pytest.mark.parametrize("votes", [[240, 8, 2], [200, 40, 10], [130, 120, 0], [250, 0, 0], [100, 100, 50]])
@pytest.mark.parametrize(("sigma", "order"), [(40.0, 14.0), (40.0, 2.5), (20.0, 8.0), (100.0, 30.0)])
def test_the_cost_of_a_vote_is_that_of_the_plain_formula(votes, sigma, order):
    found = noisy_max(log_q_gaussian(votes, sigma), sigma, order)
    assert found == pytest.approx(twin(votes, sigma, order), rel=1e-6, abs=1e-12)
    assert 0 <= found <= order / sigma**2


def test_q_is_no_less_than_the_votes_really_go_wrong():
    rng, votes = np.random.default_rng(0), np.array([60.0, 30.0, 10.0])
    gaussian = (votes + rng.normal(0, 20, (200_000, 3))).argmax(1)
    laplace = (votes + rng.laplace(0, 20, (200_000, 3))).argmax(1)
    assert (gaussian != 0).mean() <= math.exp(log_q_gaussian(votes, 20.0)) <= 1.2 * (gaussian != 0).mean()
    assert (laplace != 0).mean() <= math.exp(log_q_laplace(votes, 20.0)) <= 1.3 * (laplace != 0).mean()


def exact_divergence(left, right, order):
    return math.log(sum(p**order * r ** (1 - order) for p, r in zip(left, right, strict=True))) / (order - 1)


def two_classes(gap, sigma):
    win = float(norm.cdf(gap / (sigma * math.sqrt(2))))
    return win, 1 - win


@pytest.mark.parametrize("gap", [0, 40, 100, 160, 220])
def test_a_vote_between_two_classes_costs_no_less_than_the_divergence_of_its_neighbours(gap):
    """With two classes the probabilities of the answers are known exactly; one vote moves the gap by two."""
    for order in (2.0, 8.0, 20.0):
        cost = noisy_max(log_q_gaussian([125 + gap / 2, 125 - gap / 2], 40.0), 40.0, order)
        here = two_classes(gap, 40.0)
        for moved in (gap - 2, gap + 2):
            assert exact_divergence(here, two_classes(moved, 40.0), order) <= cost
            assert exact_divergence(two_classes(moved, 40.0), here, order) <= cost


@pytest.mark.parametrize("most", [20, 140, 190, 210, 250])
def test_a_check_costs_no_less_than_the_divergence_of_its_neighbours(most):
    for order in (2.0, 12.0):
        cost = threshold_check(log_passes(most, 200, 50.0), 50.0, order)
        assert cost <= order / (2 * 50.0**2) * (1 + 1e-9)
        here, there = (math.exp(log_passes(count, 200, 50.0)) for count in (most, most + 1))
        assert exact_divergence((here, 1 - here), (there, 1 - there), order) <= cost * (1 + 1e-6)


def test_laplace_votes_cost_no_more_than_their_epsilon_and_less_where_all_agree():
    assert laplace_max(log_q_laplace([130, 120], 20.0), 20.0, 8.0) == pytest.approx(min(0.1, 0.5 * 0.01 * 8))
    assert laplace_max(log_q_laplace([250, 0, 0], 10.0), 10.0, 8.0) < 1e-4


def test_sensitivities_are_those_that_the_authors_recorded():
    """The values in the tests of tensorflow/privacy, research/pate_2018/smooth_sensitivity_test.py."""
    near = vote_sensitivity([10, 0, 0], 10, 0.5, 1.5)
    np.testing.assert_allclose(near, [3.13503646e-17, 1.60178280e-08, 5.90681786e-03] + [5.99981308] * 7, rtol=1e-6)
    apart = vote_sensitivity([1000, 500, 300, 200, 0], 2000, 250.0, 10.0)
    np.testing.assert_allclose(
        apart, [0.0] * 298 + [2.77693450548e-7, 2.10853979548e-6] + [2.73113623988e-6] * 1700, rtol=1e-6
    )
    high = check_sensitivity(20, 30, 16, 2, 10)
    np.testing.assert_allclose(high[:5], [0, 0, 0, 1.48454129e-04, 1.47826870e-02], rtol=1e-6)
    np.testing.assert_allclose(high[18:20], [1.68302106e-01, 1.93127860e-01], rtol=1e-6)
    low = check_sensitivity(20, 30, 2, 2, 10)
    np.testing.assert_allclose(low[:3], [1.60212079e-01, 2.07021132e-01, 2.07021132e-01], rtol=1e-6)


@pytest.mark.parametrize("votes", [[240, 10, 0], [190, 50, 10], [150, 80, 20], [110, 100, 40]])
def test_no_move_of_one_vote_changes_the_cost_by_more_than_its_sensitivity(votes):
    sigma, order = 40.0, 14.0
    must_be_smooth(sigma, 3, order)
    bounds = vote_sensitivity(votes, 250, sigma, order)

    def cost(at):
        return noisy_max(log_q_gaussian(at, sigma), sigma, order)

    rng = np.random.default_rng(0)
    for away in range(12):
        here = np.array(votes)
        for _ in range(away):
            here = moved(here, rng)
        for _ in range(6):
            assert abs(cost(moved(here, rng)) - cost(here)) <= bounds[: away + 1].max() + 1e-12


def moved(votes, rng):
    while True:
        source, target = rng.choice(len(votes), 2, replace=False)
        if votes[source] > 0:
            step = np.zeros_like(votes)
            step[source], step[target] = -1, 1
            return votes + step


def test_a_release_costs_more_with_less_noise_and_refuses_a_beta_that_is_too_large():
    assert release_cost(0.01, 5.0, 14.0) > release_cost(0.01, 10.0, 14.0) > 0
    assert smoothed(np.array([0.0, 1.0, 4.0]), math.log(2)) == 1.0
    with pytest.raises(PolicyError, match="at order 14"):
        release_cost(0.1, 5.0, 14.0)
