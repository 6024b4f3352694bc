"""What guesses say: the published values, the exact limits, and how often a true claim is refuted."""

import numpy as np
import pytest
import torch
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from redoubt.attacks.canary import dirac
from redoubt.games.privacy import many_runs, one_run
from redoubt.games.privacy.judge import judge
from redoubt.games.privacy.many_runs import Told
from redoubt.games.privacy.play import play_one_run
from redoubt.games.privacy.tradeoff import Tradeoff, gaussian, gaussian_delta, gaussian_epsilon
from redoubt.records import DataError, ModelError, Verdict
from redoubt.records.privacy import PrivacyClaim


@pytest.mark.parametrize("mu", [0.3, 1.0, 3.0])
def test_the_gaussian_curve_is_the_known_one_from_above(mu):
    curve = gaussian(mu)
    for alarms in (0.001, 0.1, 0.5, 0.9):
        exact = float(ndtr(ndtri(alarms) + mu))
        found = curve.most_found(alarms)
        assert exact - 1e-9 <= found <= exact * 1.01
        assert curve.least_alarms(found) == pytest.approx(alarms, rel=1e-6)
    assert gaussian_delta(mu, gaussian_epsilon(mu, 1e-5)) == pytest.approx(1e-5, rel=1e-3)


def test_a_pure_guarantee_is_the_binomial_of_randomised_response():
    """Steinke et al. 2023, theorem 5.2 at delta 0; appendix D gives 0.553 for 75 of 100 at log 3."""
    assert one_run.chance_under(100, 100, 75, np.log(3), 0.0) == pytest.approx(0.5534, abs=1e-3)
    assert one_run.chance_under(500, 80, 70, 1.0, 0.0) == pytest.approx(binom.sf(69, 80, 1 / (1 + np.exp(-1))))
    pure = Tradeoff(np.array([1.0]), np.array([0.0]))
    for v in (160, 170, 180):
        exact = one_run.chance_under(200, 200, v, 1.0, 0.0)
        assert exact * 0.95 <= one_run.chance_under_claim(200, 200, v, pure) <= exact * 1.5


def test_delta_costs_and_more_right_guesses_bound_more():
    bounds = [one_run.epsilon_bound(1000, 400, v, 1e-5) for v in (200, 300, 380, 400)]
    assert bounds == sorted(bounds)
    assert bounds[0] == 0.0
    assert one_run.epsilon_bound(1000, 400, 400, 1e-3) < one_run.epsilon_bound(1000, 400, 400, 1e-9)
    with pytest.raises(ValueError, match="401 of 400"):
        one_run.chance_under(1000, 400, 401, 1.0, 0.0)


@pytest.mark.parametrize("mu", [0.5, 2.0])
def test_a_true_gaussian_is_refuted_no_more_often_than_allowed_and_half_of_it_is(mu):
    """Each canary shows under a Gaussian of its own: exactly what the claim allows."""
    rng = np.random.default_rng(0)
    m, runs, wrong, over, caught = 1000, 100, 0, 0, 0
    true, half = gaussian(mu), gaussian(mu / 2 / 1.5)
    for _ in range(runs):
        coins = rng.integers(0, 2, m)
        order = np.argsort(-(mu * coins + rng.normal(size=m)))
        right = int(coins[order[:250]].sum() + (1 - coins[order[-250:]]).sum())
        wrong += one_run.refutes(m, 500, right, true, 0.05)
        caught += one_run.refutes(m, 500, right, half, 0.05)
        over += one_run.epsilon_bound(m, 500, right, 1e-5) > gaussian_epsilon(mu, 1e-5)
    assert wrong <= binom.ppf(0.999, runs, 0.05)
    assert over <= binom.ppf(0.999, runs, 0.05)
    assert caught > 60 or mu < 1


def test_many_runs_bound_what_randomised_response_gives_away():
    """Warner 1965 at epsilon log 3: right with probability 3/4.  Bounded from below, and in 95 % of all cases truly."""
    rng = np.random.default_rng(1)
    bounds = [
        many_runs.epsilon_bound(Told(int(rng.binomial(2000, 0.75)), 2000, int(rng.binomial(2000, 0.25)), 2000), 1e-5)
        for _ in range(200)
    ]
    assert sum(bound > np.log(3) for bound in bounds) <= binom.ppf(0.999, 200, 0.05)
    assert np.mean(bounds) > 0.8 * np.log(3)


def test_many_runs_refute_a_curve_and_not_the_true_one():
    told = Told(found=690, members=1000, alarms=310, others=1000)  # near mu = 1
    assert not many_runs.refutes(told, gaussian(1.0), 0.05)
    assert many_runs.refutes(told, gaussian(0.7), 0.05)
    assert many_runs.chance_under_claim(told, gaussian(0.7)) < 0.05 < many_runs.chance_under_claim(told, gaussian(1.0))
    assert many_runs.gaussian_bound(told, 1e-5) < gaussian_epsilon(1.0, 1e-5)


def test_verdicts():
    claim = PrivacyClaim(epsilon=1.0, delta=1e-5, by="pld")
    assert judge(claim, 1.1, 1.0, 0.95)[0] is Verdict.VIOLATED
    assert judge(claim, 0.0, 0.02, 0.95)[0] is Verdict.VIOLATED
    assert judge(claim, 0.9, 0.03, 0.95)[0] is Verdict.WITHSTOOD


def test_what_cannot_be_judged_is_refused():
    claim, rng = PrivacyClaim(epsilon=1.0, delta=1e-5, by="pld"), torch.Generator().manual_seed(0)
    x, y = torch.zeros(5, 30), torch.zeros(5, dtype=torch.int64)
    with pytest.raises(DataError, match="tell nothing"):
        play_one_run(lambda *_: torch.zeros(5, 1), x, y, dirac(5, 30, 2), claim, gaussian(1.0), rng)
    with pytest.raises(ModelError, match="not finite"):
        play_one_run(lambda *_: torch.full((30, 1), torch.nan), x, y, dirac(30, 30, 2), claim, gaussian(1.0), rng)
    with pytest.raises(ModelError, match=r"not \[30, steps\]"):
        play_one_run(lambda *_: torch.zeros(7, 1), x, y, dirac(30, 30, 2), claim, gaussian(1.0), rng)
    with pytest.raises(ValueError, match="as many epsilons"):
        Tradeoff(np.array([1.0]), np.array([2.0]))
