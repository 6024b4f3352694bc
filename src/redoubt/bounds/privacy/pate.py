"""What votes of teachers cost, by how they fell: the data-dependent Renyi accounting of PATE.

One record belongs to one teacher, whose vote may move from a class to another.  Where nearly all teachers agree, that
hardly changes the answer, and the answer costs far less than its noise alone says.  Such a cost is true of these votes
only; so it is itself a secret, until it is released with noise (`smooth`).

| letter | means |
|---|---|
| n | votes `[K]`; for the interactive check, votes less the student's own prediction |
| q | at most the probability that the answer is not the class with the most votes |
| order | of the Renyi divergence, above 1, fixed before the votes are looked at |

Sources: Papernot et al. 2018 (theorem 6, propositions 7, 8 and 10; appendix A and B), Papernot et al. 2017 (lemma 4,
theorem 3).
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import log_ndtr, logsumexp

_TWO = math.sqrt(2)


def log_q_gaussian(votes: Sequence[float], sigma: float) -> float:
    """Log of q for the noisy maximum with Gaussian noise of deviation `sigma` (proposition 7: a union bound).

    >>> round(log_q_gaussian([200, 40, 10], 40.0), 2)
    -5.9
    """
    most, gaps = _gaps(votes)
    return min(float(logsumexp(log_ndtr(-gaps / (sigma * _TWO)))), math.log1p(-1 / most))


def log_q_laplace(votes: Sequence[float], scale: float) -> float:
    """The same for Laplace noise (Papernot et al. 2017, lemma 4)."""
    most, gaps = _gaps(votes)
    over = gaps / scale
    return min(float(logsumexp(np.log(2 + over) - over - math.log(4))), math.log1p(-1 / most))


def noisy_max(log_q: float, sigma: float, order: float) -> float:
    """The Renyi divergence of a noisy maximum, Gaussian: the data-dependent bound where it holds and is less.

    `order / sigma**2` whatever the votes (proposition 8); theorem 6 with the two orders of proposition 10 otherwise.
    """
    whatever = order / sigma**2
    if log_q == -math.inf:
        return 0.0
    second = sigma * math.sqrt(-log_q)
    first = second + 1
    if first <= order or second <= 1:
        return whatever
    cost_1, cost_2 = first / sigma**2, second / sigma**2
    fits = log_q <= (second - 1) * cost_2 - second * (math.log1p(1 / (first - 1)) + math.log1p(1 / (second - 1)))
    if not fits or -log_q <= cost_2:
        return whatever
    stays = _log_one_less(log_q)
    if_same = (order - 1) * (stays - _log_one_less((log_q + cost_2) * (1 - 1 / second)))
    if_other = (order - 1) * (cost_1 - log_q / (first - 1))
    return max(0.0, min(whatever, float(np.logaddexp(stays + if_same, log_q + if_other)) / (order - 1)))


def laplace_max(log_q: float, scale: float, order: float) -> float:
    """The Renyi divergence of a noisy maximum with Laplace noise: `2 / scale` is its epsilon (2017, theorem 3)."""
    pure = 2 / scale
    bound = min(0.5 * pure * pure * order, pure)
    if math.exp(log_q) > 1 / (math.exp(pure) + 1):
        return bound
    stays = math.log1p(-math.exp(log_q))
    same = stays + (stays - _log_one_less(pure + log_q)) * (order - 1)
    return min(bound, float(np.logaddexp(same, log_q + pure * (order - 1))) / (order - 1))


def log_passes(most: float, threshold: float, sigma: float) -> float:
    """Log of the probability that a count with Gaussian noise reaches the threshold.

    The count is rounded first, so that one vote moves it by one at most and its sensitivity can be listed.
    """
    return float(log_ndtr(-(threshold - round(most)) / sigma))


def threshold_check(log_pass: float, sigma: float, order: float) -> float:
    """The Renyi divergence of a threshold check: one vote moves its count by 1, not by sqrt(2)."""
    fails = _log_one_less(log_pass) if log_pass < 0 else -math.inf
    return noisy_max(min(log_pass, fails), sigma * _TWO, order)


def _gaps(votes: Sequence[float]) -> tuple[int, np.ndarray]:
    counted = np.asarray(votes, dtype=np.float64)
    if counted.ndim != 1 or len(counted) < 2:
        raise ValueError("votes are counts for two classes at least")
    first = int(counted.argmax())
    return len(counted), np.delete(counted[first] - counted, first)


def _log_one_less(log_x: float) -> float:
    """log(1 - e^x) for x < 0."""
    return math.log1p(-math.exp(log_x)) if log_x < -1 else math.log(-math.expm1(log_x))
