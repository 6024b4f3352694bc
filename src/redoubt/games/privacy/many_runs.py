"""What many trainings say against a guarantee: half of them with one canary, half without."""

import math
from dataclasses import dataclass

from scipy.special import ndtri

from redoubt.games.measures import clopper_pearson
from redoubt.games.privacy.tradeoff import Tradeoff, gaussian_epsilon


@dataclass(frozen=True)
class Told:
    """How often a test said "with the canary".

    Attributes:
        found: of `members` trainings with it.
        alarms: of `others` trainings without it.
    """

    found: int
    members: int
    alarms: int
    others: int

    def rates(self, level: float) -> tuple[float, float]:
        """A lower bound on the true-positive rate and an upper one on the false; both hold with probability `level`.

        Each misses with half of what is left (Clopper and Pearson 1934).
        """
        return (
            clopper_pearson(self.found, self.members, level).low,
            clopper_pearson(self.alarms, self.others, level).high,
        )


def epsilon_bound(told: Told, delta: float, level: float = 0.95) -> float:
    """A lower bound on epsilon at this delta: with probability `level`, it is not above the truth.

    `log((TPR - delta) / FPR)` or `log((1 - FPR - delta) / (1 - TPR))`, whichever is more (Jagielski et al. 2020; Nasr
    et al. 2021).  Both follow from one pair of bounds, so that taking the greater costs nothing.

    >>> round(epsilon_bound(Told(1000, 1000, 0, 1000), 1e-5), 2)
    5.6
    """
    found, alarms = told.rates(level)
    ratios = ((found - delta) / alarms, (1 - alarms - delta) / (1 - found))
    return max(0.0, *(float(_log(ratio)) for ratio in ratios))


def gaussian_bound(told: Told, delta: float, level: float = 0.95) -> float:
    """As `epsilon_bound`, **if** the mechanism's trade-off is that of a Gaussian, and only then (Nasr et al. 2023)."""
    found, alarms = told.rates(level)
    if found <= 0 or alarms >= 1:
        return 0.0
    return gaussian_epsilon(float(ndtri(found) - ndtri(alarms)), delta)


def refutes(told: Told, claim: Tradeoff, chance: float) -> bool:
    """Whether the bounds on both rates lie outside of what the claim allows; wrongly so with this chance at most."""
    found, alarms = told.rates(1 - chance)
    return found > claim.most_found(alarms)


def chance_under_claim(told: Told, claim: Tradeoff) -> float:
    """The least chance at which `refutes` still does, to a factor of 1.05; 1 where nothing is refuted."""
    low, high = math.log(1e-12), 0.0
    if not refutes(told, claim, 1 - 1e-9):
        return 1.0
    while high - low > 0.05:
        middle = (low + high) / 2
        low, high = (low, middle) if refutes(told, claim, math.exp(middle)) else (middle, high)
    return math.exp(high)


def _log(ratio: float) -> float:
    return math.log(ratio) if ratio > 0 else -math.inf
