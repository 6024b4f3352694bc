"""What guesses about many canaries of one training say against a guarantee.

Each of m canaries was put in or left out by a fair coin of its own.  Somebody who saw what was released guessed for r
of them, and was right v times.  Under a guarantee, v is unlikely to be large; how unlikely is what stands here.

| letter | means |
|---|---|
| m | canaries whose coins the guesser does not know |
| r | guesses: the others are abstained from |
| v | right guesses |
"""

import numpy as np
from scipy.stats import binom

from redoubt.games.privacy.tradeoff import Tradeoff

_MOST = 60.0  # no lower bound is told above this epsilon


def chance_under(m: int, r: int, v: int, epsilon: float, delta: float) -> float:
    """At most how likely v right guesses or more are under (epsilon, delta)-differential privacy.

    Steinke, Nasr and Jagielski 2023, theorem 5.2: the binomial tail of r guesses at randomised response, and for delta
    `2 m delta max_i P[v - i <= W < v] / i`.

    >>> round(chance_under(100, 100, 75, np.log(3.0), 0.0), 3)
    0.553
    """
    if not 0 <= v <= r <= m:
        raise ValueError(f"{v} of {r} guesses about {m} canaries")
    right = 1 / (1 + np.exp(-epsilon))
    tail = float(binom.sf(v - 1, r, right))
    if delta == 0 or v == 0:
        return tail if v else 1.0
    below = np.cumsum(binom.pmf(np.arange(v - 1, -1, -1), r, right))  # P[v - i <= W < v] for i = 1..v
    return float(min(1.0, tail + 2 * m * delta * (below / np.arange(1, v + 1)).max()))


def epsilon_bound(m: int, r: int, v: int, delta: float, level: float = 0.95) -> float:
    """A lower bound on epsilon at this delta: with probability `level`, it is not above the truth.

    The number of guesses must not depend on the coins.

    >>> round(epsilon_bound(1000, 1000, 1000, 1e-5), 2)
    5.78
    """
    allowed = 1 - level
    if chance_under(m, r, v, 0.0, delta) >= allowed:
        return 0.0
    low, high = 0.0, _MOST
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if chance_under(m, r, v, middle, delta) < allowed else (low, middle)
    return low


def refutes(m: int, r: int, v: int, claim: Tradeoff, chance: float) -> bool:
    """Whether v right guesses or more have less than this chance under all that the claim says.

    Mahloujifar, Melis and Chaudhuri 2025, theorem 3.2 and algorithm 1: let `p_i` be the probability of i right
    guesses.  Turning the coin of one canary turns a right guess at it into a wrong one, so that for every i
    `sum_{k > i} k p_k / m  <=  F(sum_{k >= i} (r - k) p_k / m)`.  If the tail from v on weighs `chance`, this forces
    weight on what lies below, step by step; if it forces more than there is, the claim is refuted.
    """
    if not 0 <= v <= r <= m:
        raise ValueError(f"{v} of {r} guesses about {m} canaries")
    rights, wrongs = chance * v / m, chance * (r - v) / m
    for i in range(v - 1, -1, -1):
        forced = max(wrongs, claim.least_alarms(rights))
        rights += i / (r - i) * (forced - wrongs)
        wrongs = forced
        if rights + wrongs > r / m:
            return True
    return False


def chance_under_claim(m: int, r: int, v: int, claim: Tradeoff) -> float:
    """The least chance at which `refutes` still does: a p-value, to a factor of 1.05; 1 where nothing is refuted."""
    low, high = np.log(1e-12), 0.0
    if not refutes(m, r, v, claim, 1.0 - 1e-9):
        return 1.0
    if refutes(m, r, v, claim, 1e-12):
        return 1e-12
    while high - low > 0.05:
        middle = (low + high) / 2
        # A larger chance is refuted whenever a smaller one is.
        low, high = (low, middle) if refutes(m, r, v, claim, float(np.exp(middle))) else (middle, high)
    return float(np.exp(high))
