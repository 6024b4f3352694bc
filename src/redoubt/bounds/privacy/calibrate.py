"""How much noise a guarantee needs."""

import math
from collections.abc import Callable, Sequence

from scipy.optimize import brentq

from redoubt.bounds.privacy.accountants import AccountantName, epsilon
from redoubt.bounds.privacy.events import LEAST_NOISE, MOST_NOISE, Event
from redoubt.records import PolicyError

_DIGITS = 4


def noise_for(
    target: float, delta: float, events: Callable[[float], Sequence[Event]], by: AccountantName = "pld"
) -> float:
    """The least noise multiplier, in four digits, with which events stay within (target, delta).

    Args:
        target: epsilon; above 0.
        delta: in (0, 1).
        events: a noise multiplier to everything that will have been done, what has been done already included; more
            noise must not cost more.
        by: the accountant who must vouch.

    Returns:
        A noise multiplier for which `epsilon(events(it), delta, by) <= target`: checked, not inferred.

    >>> from redoubt.bounds.privacy.events import GaussianRelease
    >>> noise_for(1.0, 1e-5, lambda noise: [GaussianRelease(noise_multiplier=noise)])
    3.731

    Raises:
        PolicyError: no noise is enough, because what else was done costs more by itself; or as `epsilon`.
    """
    if not 0 < target < math.inf:
        raise PolicyError(f"the target epsilon is {target!r}", remedy="give a number above 0")

    def within(noise: float) -> bool:
        return epsilon(events(noise), delta, by) <= target

    high = 1.0
    while not within(high):
        high *= 4
        if high > MOST_NOISE:
            raise PolicyError(
                f"no noise brings this within epsilon {target:g} at delta {delta:g}",
                remedy="allow more, or do less: what was done beside it costs too much by itself",
            )
    low = high / 4
    while low >= LEAST_NOISE and within(low):
        high, low = low, low / 4
    if low < LEAST_NOISE:
        return high

    def over(log_noise: float) -> float:
        return math.log(min(max(epsilon(events(math.exp(log_noise)), delta, by), 1e-9), 1e9) / target)

    near = math.exp(brentq(over, math.log(low), math.log(high), xtol=10.0**-_DIGITS / 4))
    noise = _up(near * (1 - 10.0**-_DIGITS))
    while not within(noise):
        noise = _up(noise * (1 + 10.0**-_DIGITS))
    return noise


def _up(noise: float) -> float:
    """Rounded up to four significant digits."""
    scale = 10.0 ** (_DIGITS - 1 - math.floor(math.log10(noise)))
    return math.ceil(noise * scale - 1e-9) / scale
