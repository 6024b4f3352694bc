"""Releasing what votes cost: the cost's smooth sensitivity, and Gaussian noise in proportion to it.

The cost of an answer, `b(n)`, depends on the votes.  How much it changes when one vote moves, at votes that are d moves
away from these, is bounded for every d; discounted by `e^(-beta d)` and summed over the answers, the greatest of these
bounds is *smooth*, so that noise in proportion to it gives away only what `release_cost` says.

Sources: Papernot et al. 2018, appendix B: algorithms 3 to 5, proposition 13, theorem 23.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import erfc, erfcinv

from redoubt.bounds.privacy.pate import log_passes, log_q_gaussian, threshold_check
from redoubt.records import PolicyError

Floats = NDArray[np.float64]


def vote_sensitivity(votes: Sequence[float], teachers: int, sigma: float, order: float) -> Floats:
    """Bounds on how much one vote changes the cost of a noisy maximum, at 0, 1, ... moves from here; `[teachers]`."""
    sorted_votes = tuple(sorted((float(vote) for vote in votes), reverse=True))
    return _vote_sensitivity(sorted_votes, teachers, float(sigma), float(order))


@functools.lru_cache(maxsize=4096)
def _vote_sensitivity(given: tuple[float, ...], teachers: int, sigma: float, order: float) -> Floats:
    votes, classes = list(given), len(given)
    switch, flat = _switches(sigma, order, classes)
    log_q = log_q_gaussian(votes, sigma)
    found = np.full(teachers, _local(flat, sigma, order, classes))
    if flat <= log_q <= switch:
        return found
    found[0] = _local(log_q, sigma, order, classes)
    apart = log_q > switch  # then the cost is constant here, and falls where the votes are less divided
    at = 0
    while at + 1 < teachers and (log_q > switch and votes[1] > 0 if apart else log_q < flat):
        at += 1
        step = 1 if apart else -1
        votes[0] += step
        votes[1] -= step
        votes.sort(reverse=True)
        log_q = log_q_gaussian(votes, sigma)
        found[at] = _local(log_q, sigma, order, classes)
    return found


def check_sensitivity(most: float, teachers: int, threshold: float, sigma: float, order: float) -> Floats:
    """The same for a threshold check of the greatest count; `[teachers]`."""
    return _check_sensitivity(
        min(max(round(most), 0), teachers), teachers, float(threshold), float(sigma), float(order)
    )


@functools.lru_cache(maxsize=4096)
def _check_sensitivity(here: int, teachers: int, threshold: float, sigma: float, order: float) -> Floats:
    costs = _check_costs(teachers, threshold, sigma, order)
    steps = np.abs(np.diff(costs))
    near = np.maximum(np.append(steps, 0.0), np.insert(steps, 0, 0.0))  # by count, the larger of up and down
    found = np.zeros(teachers)
    for away in range(min(teachers, max(here, teachers - here) + 1)):
        around = [near[at] for at in (here - away, here + away) if 0 <= at <= teachers]
        found[away] = max(around, default=0.0)
    return found


def smoothed(sensitivity: Floats, beta: float) -> float:
    """The greatest of the bounds, each discounted by its distance."""
    return float((sensitivity * np.exp(-beta * np.arange(len(sensitivity)))).max(initial=0.0))


def release_cost(beta: float, noise: float, order: float) -> float:
    """The Renyi divergence of a release with `noise` times the smooth sensitivity (theorem 23).

    Raises:
        PolicyError: the order is not in (1, 1 / (2 beta)).
    """
    if not beta > 0 or not 1 < order < 1 / (2 * beta):
        raise PolicyError(
            f"beta is {beta:g} at order {order:g}",
            remedy="give a beta of 0.2 over the order, say",
        )
    spread = -0.5 * math.log(1 - 2 * order * beta) + beta * order
    return order * math.exp(2 * beta) / noise**2 + spread / (order - 1)


def must_be_smooth(sigma: float, classes: int, order: float) -> None:
    """Refuse noise and an order for which the bounds are not known to hold (conditions C5 and C6 of appendix B).

    Both are looked at on a grid of 400 values of log q; they say that the cost and its change rise with q.

    Raises:
        PolicyError: one of them does not hold.
    """
    switch, flat = _switches(float(sigma), float(order), classes)
    rising = [_cost(at, sigma, order) for at in np.linspace(max(4 * switch, -600.0), switch - 1e-9, 400)]
    change = [
        _cost(_up(at, sigma, classes), sigma, order) - _cost(at, sigma, order)
        for at in np.linspace(max(4 * flat, -600.0), flat - 1e-6, 400)
    ]
    if min(np.diff(rising)) < -1e-9 or min(np.diff(change)) < -1e-9:
        raise PolicyError(
            f"the cost of votes with noise {sigma:g} is not smooth enough at order {order:g}",
            remedy="take another order, or more noise",
        )


def _local(log_q: float, sigma: float, order: float, classes: int) -> float:
    """How much one vote changes the cost at q (algorithm 3)."""
    switch, flat = _switches(sigma, order, classes)
    at = flat if flat <= log_q <= switch else log_q
    here = _cost(at, sigma, order)
    up, down = _cost(_up(at, sigma, classes), sigma, order), _cost(_down(at, sigma, classes), sigma, order)
    return max(up - here, here - down)


def _cost(log_q: float, sigma: float, order: float) -> float:
    return order / sigma**2 if log_q >= _switch(sigma, order) else _bound(log_q, sigma, order)


def _bound(log_q: float, sigma: float, order: float) -> float:
    """Theorem 6 without asking whether it holds, and whether it says more than the noise alone."""
    if log_q == -math.inf:
        return 0.0
    second = sigma * math.sqrt(-log_q)
    cost_1, cost_2 = (second + 1) / sigma**2, second / sigma**2
    stays = math.log1p(-math.exp(log_q))
    same = (order - 1) * (stays - math.log1p(-math.exp((log_q + cost_2) * (1 - 1 / second))))
    other = (order - 1) * (cost_1 - log_q / second)
    return float(np.logaddexp(stays + same, log_q + other)) / (order - 1)


@functools.lru_cache(maxsize=256)
def _switches(sigma: float, order: float, classes: int) -> tuple[float, float]:
    """Log q from which on the cost is constant, and one vote's move below it."""
    switch = _switch(sigma, order)
    return switch, _down(switch, sigma, classes)


@functools.lru_cache(maxsize=256)
def _switch(sigma: float, order: float) -> float:
    def over(log_q: float) -> float:
        return _bound(log_q, sigma, order) - order / sigma**2

    top = min(-((1 + 1 / sigma) ** 2), -(((order - 0.99) / sigma) ** 2), -1 / sigma**2)
    if over(top) < 0:
        return top
    low = 2 * top
    while over(low) > 0:
        low *= 1.5
        if low < -10_000:
            raise PolicyError(
                f"at order {order:g}, noise {sigma:g} never costs less than it does for any votes",
                remedy="take a lower order",
            )
    return float(brentq(over, low, top))


def _up(log_q: float, sigma: float, classes: int) -> float:
    """The largest log q that is one vote away."""
    return min(0.0, _moved(log_q, -1 / sigma, classes))


def _down(log_q: float, sigma: float, classes: int) -> float:
    """The least log q that is one vote away."""
    return _moved(log_q, 1 / sigma, classes)


def _moved(log_q: float, by: float, classes: int) -> float:
    others = (classes - 1) / 2
    moved = others * float(erfc(by + erfcinv(math.exp(log_q) / others)))
    return math.log(moved) if moved > 0 else -math.inf


@functools.lru_cache(maxsize=64)
def _check_costs(teachers: int, threshold: float, sigma: float, order: float) -> Floats:
    """By the greatest count, 0 to `teachers`."""
    counts = range(teachers + 1)
    return np.array([threshold_check(log_passes(count, threshold, sigma), sigma, order) for count in counts])
