"""What a guarantee says of every test for one record: the most true positives at each false-positive rate.

The words: a *trade-off* here is the curve `F = 1 - f` of f-differential privacy (Dong, Roth and Su 2022), which is
concave and goes through (1, 1).  Everything is symmetric: the same holds for tests of "it was not among them".
"""

import bisect
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tradeoff:
    """The guarantees `(epsilons[i], deltas[i])`, all of which hold at once.

    Attributes:
        epsilons: float64 `[G]`, at least 0.
        deltas: float64 `[G]`, in 0..1.  Too large is sound: the curve lies higher.
    """

    epsilons: Floats
    deltas: Floats

    def __post_init__(self) -> None:
        sound = self.epsilons.shape == self.deltas.shape and self.epsilons.ndim == 1 and len(self.epsilons) > 0
        if not sound or not (self.epsilons >= 0).all() or not ((self.deltas >= 0) & (self.deltas <= 1)).all():
            raise ValueError("a trade-off is of as many epsilons >= 0 as deltas in 0..1")

    def most_found(self, false_alarms: float) -> float:
        """The most true positives of any test with this false-positive rate (Kairouz et al. 2015, theorem 2.1).

        >>> pure = Tradeoff(np.array([np.log(3.0)]), np.array([0.0]))
        >>> round(pure.most_found(0.1), 6), round(pure.most_found(0.4), 6)
        (0.3, 0.8)
        """
        direct = np.exp(self.epsilons) * false_alarms + self.deltas
        turned = 1 - np.exp(-self.epsilons) * (1 - self.deltas - false_alarms)
        return float(min(1.0, direct.min(), turned.min()))

    def least_alarms(self, found: float) -> float:
        """The least false-positive rate of any test that finds this share of the members: `most_found`, inverted."""
        starts, slopes, offsets = self._envelope
        at = bisect.bisect_right(starts, found) - 1
        return max(0.0, slopes[at] * found + offsets[at])

    @cached_property
    def _envelope(self) -> tuple[list[float], list[float], list[float]]:
        """`least_alarms` as the greatest of straight lines: where each is the greatest from, and its two numbers.

        A guarantee gives two: `e^-epsilon (x - delta)` and `1 - delta - e^epsilon (1 - x)`.
        """
        up, down = np.exp(self.epsilons), np.exp(-self.epsilons)
        slopes = np.concatenate([down, up])
        offsets = np.concatenate([-down * self.deltas, 1 - self.deltas - up])
        starts: list[float] = []
        kept: list[tuple[float, float]] = []
        for at in np.lexsort((offsets, slopes)):
            slope, offset = float(slopes[at]), float(offsets[at])
            start = -math.inf
            while kept:
                last, below = kept[-1]
                start = (below - offset) / (slope - last) if slope > last else -math.inf
                if start > starts[-1]:
                    break
                kept.pop()
                starts.pop()
                start = -math.inf
            kept.append((slope, offset))
            starts.append(start)
        return starts, [slope for slope, _ in kept], [offset for _, offset in kept]


def gaussian_delta(mu: float, epsilon: float) -> float:
    """The delta that mu-Gaussian differential privacy has at `epsilon` (Dong, Roth and Su 2022, corollary 2.13)."""
    if mu <= 0:
        return 0.0
    near, far = -epsilon / mu + mu / 2, -epsilon / mu - mu / 2
    return float(max(0.0, ndtr(near) - np.exp(epsilon + np.log(max(ndtr(far), 1e-300)))))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The epsilon that mu-Gaussian differential privacy has at `delta` in (0, 1).

    >>> round(gaussian_epsilon(1.0, 1e-5), 3)
    4.377
    """
    if mu <= 0 or gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    top = mu * mu / 2 + mu * float(-ndtri(delta)) + 1  # the tail of the privacy loss alone is below delta there
    return float(brentq(lambda at: gaussian_delta(mu, at) - delta, 0.0, top))


def gaussian(mu: float, most: float = 12.0, cells: int = 200) -> Tradeoff:
    """Mu-Gaussian differential privacy, on a grid of epsilons up to `most`."""
    grid = np.linspace(0.0, most, cells)
    return Tradeoff(grid, np.array([gaussian_delta(mu, float(at)) for at in grid]))
