"""Accountants agree where they are tight, none says less than can be true, and each refuses what it does not know."""

import math

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from redoubt.bounds.privacy.accountants import curve, epsilon, lower_epsilon
from redoubt.bounds.privacy.calibrate import noise_for
from redoubt.bounds.privacy.events import (
    AccountedSearch,
    DeclaredSearch,
    GaussianRelease,
    LaplaceRelease,
    NoisyMax,
    PoissonGaussian,
    PublicSearch,
    PublicTraining,
    ThresholdCheck,
)
from redoubt.bounds.privacy.mechanisms import merged, to_dp_event
from redoubt.records import PolicyError

DELTA = 1e-5
SGD = PoissonGaussian(rate=0.05, noise_multiplier=2.0, steps=200)


def gaussian_epsilon(noise, delta):
    """Balle and Wang 2018, theorem 8: the exact epsilon of one Gaussian release."""

    def over(at):
        return norm.cdf(0.5 / noise - at * noise) - math.exp(at) * norm.cdf(-0.5 / noise - at * noise) - delta

    return brentq(over, 0, 100)


@pytest.mark.parametrize("noise", [0.7, 2.0, 15.0])
def test_one_gaussian_release_costs_what_it_is_known_to_cost(noise):
    exact = gaussian_epsilon(noise, DELTA)
    events = [GaussianRelease(noise_multiplier=noise)]
    assert exact <= epsilon(events, DELTA) <= exact * 1.005
    assert exact <= epsilon(events, DELTA, "prv") <= exact * 1.02
    assert exact <= epsilon(events, DELTA, "rdp") <= exact * 1.2
    assert exact * 0.99 <= lower_epsilon(events, DELTA) <= exact


def test_laplace_costs_one_over_its_scale():
    assert epsilon([LaplaceRelease(noise_multiplier=4.0)], 1e-12) == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize(
    ("rate", "noise", "steps"),
    [(0.01, 1.0, 500), (0.2, 4.0, 100), (0.05, 0.8, 50), (1.0, 30.0, 100), (0.001, 0.6, 300)],
)
def test_accountants_agree_and_none_says_less_than_can_be_true(rate, noise, steps):
    events = [PoissonGaussian(rate=rate, noise_multiplier=noise, steps=steps)]
    pld, prv, rdp = (epsilon(events, DELTA, by) for by in ("pld", "prv", "rdp"))
    lower = lower_epsilon(events, DELTA)
    assert abs(pld - prv) <= 0.02 * pld
    assert lower <= min(pld, prv, rdp)
    assert lower >= 0.9 * pld
    assert rdp >= pld


def test_what_was_done_apart_costs_what_it_costs_together():
    halves = [
        SGD.model_copy(update={"steps": 80, "what": "first"}),
        SGD.model_copy(update={"steps": 120, "what": "then"}),
    ]
    assert merged(halves) == (SGD,)
    assert epsilon(halves, DELTA) == epsilon([SGD], DELTA)
    mixed = [SGD, LaplaceRelease(noise_multiplier=3.0), GaussianRelease(noise_multiplier=5.0)]
    assert epsilon(mixed, DELTA) == pytest.approx(epsilon(mixed[::-1], DELTA), rel=1e-6)
    assert max(epsilon([event], DELTA) for event in mixed) < epsilon(mixed, DELTA)
    assert epsilon(mixed, DELTA) < sum(epsilon([event], DELTA / 3) for event in mixed)


def test_parts_of_pate_are_gaussians_of_their_sensitivity():
    two = epsilon([GaussianRelease(noise_multiplier=20.0, times=2)], DELTA)
    assert epsilon([ThresholdCheck(noise_multiplier=20.0, times=2)], DELTA) == two
    assert epsilon([NoisyMax(deviation=20.0 * math.sqrt(2), times=2)], DELTA) == pytest.approx(two, rel=1e-9)


def test_searches_cost_what_they_say():
    public = PublicTraining(data="digits", digest=f"sha256:{'0' * 64}")
    assert epsilon([DeclaredSearch(settings=9), PublicSearch(settings=9), public], DELTA) == 0
    run = GaussianRelease(noise_multiplier=8.0)
    once, best = epsilon([run], DELTA, "rdp"), epsilon([AccountedSearch(mean=10.0, run=(run,))], DELTA, "rdp")
    assert once < best < 10 * once
    twice = epsilon([AccountedSearch(mean=10.0, run=(run,))] * 2, DELTA, "rdp")
    assert best < twice


@pytest.mark.parametrize(
    ("event", "by", "names"),
    [
        (AccountedSearch(mean=10.0, run=(SGD,)), "pld", "accounted-search"),
        (AccountedSearch(mean=10.0, run=(SGD,)), "prv", "accounted-search"),
        (LaplaceRelease(noise_multiplier=3.0), "prv", "laplace-release"),
    ],
)
def test_an_accountant_refuses_by_name_what_it_does_not_know(event, by, names):
    with pytest.raises(PolicyError, match=names):
        epsilon([event], DELTA, by)


def test_a_foreign_event_is_refused_by_name():
    class ShuffledGaussian(SGD.__class__.__base__):
        kind: str = "shuffled-gaussian"

    with pytest.raises(PolicyError, match="shuffled-gaussian"):
        to_dp_event([ShuffledGaussian()])
    with pytest.raises(PolicyError, match="shuffled-gaussian"):
        epsilon([ShuffledGaussian()], DELTA)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, float("nan")])
def test_delta_is_a_probability_that_is_neither(delta):
    with pytest.raises(PolicyError, match="delta"):
        epsilon([SGD], delta)


def test_the_curve_of_prv_has_no_deltas():
    with pytest.raises(PolicyError, match="epsilon only"):
        curve([SGD], "prv").deltas([1.0])


def test_calibrated_noise_is_enough_and_a_thousandth_less_is_not():
    def events(noise):
        return [LaplaceRelease(noise_multiplier=9.0), GaussianRelease(noise_multiplier=noise, times=3)]

    noise = noise_for(1.0, DELTA, events)
    assert epsilon(events(noise), DELTA) <= 1.0 < epsilon(events(noise * 0.999), DELTA)
    with pytest.raises(PolicyError, match="no noise"):
        noise_for(0.1, DELTA, lambda noise: [*events(noise), GaussianRelease(noise_multiplier=1.0)])
