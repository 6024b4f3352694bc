"""What a number of examples can tell about a bound, by the exact interval of Clopper and Pearson (1934).

The interval's low end for k of n keeps the bound b exactly if seeing k or more of n is improbable (at most half of
5 %) for a model whose true share is b.  So the counts that decide a verdict follow from binomial tails alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

_TAIL = 0.025
_MOST = 10**8


@dataclass(frozen=True)
class Decisive:
    """The counts, of n, that decide about `share >= bound`; None where no count does.

    Attributes:
        withstood: at least so many; the 95 % interval lies on or above the bound.
        violated: at most so many; the interval lies below the bound.
    """

    withstood: int | None
    violated: int | None


def decisive_counts(examples: int, bound: float) -> Decisive | None:
    """The counts at which `share >= bound` is decided; None if there are too many examples to say.

    >>> decisive_counts(1000, 0.85)
    Decisive(withstood=873, violated=827)
    >>> decisive_counts(20, 0.9)
    Decisive(withstood=None, violated=14)
    """
    if not 1 <= examples <= _MOST:
        return None
    if bound <= 0:
        return Decisive(0, None)
    if bound >= 1:
        return Decisive(None, examples - 1)
    enough = _first(examples, lambda count: _at_least(examples, count, bound) <= _TAIL)
    failures = _first(examples, lambda count: _at_least(examples, count, 1 - bound) < _TAIL)
    return Decisive(enough, None if failures is None else examples - failures)


def fewest_examples(bound: float) -> int | None:
    """How many examples it takes at least, all of them right, to show `share >= bound`; None if no number does.

    >>> fewest_examples(0.85)
    23
    """
    if bound <= 0:
        return 1
    return math.ceil(math.log(_TAIL) / math.log(bound)) if bound < 1 else None


def others_to_convict(rate: float, strategies: int = 1) -> int:
    """How many non-members it takes at least until a share of members found at that rate of false alarms can be shown.

    With fewer, not even a threshold above all of them is known to keep the rate: a quarter of the 5 % that may go
    wrong, shared among the strategies, goes to that.

    >>> others_to_convict(0.001), others_to_convict(0.01)
    (4380, 437)
    """
    return math.ceil(math.log(0.0125 / strategies) / math.log1p(-rate))


def _first(most: int, holds: Callable[[int], bool]) -> int | None:
    """The least count in 0..most from which on `holds` is true; None if it is not true at `most`."""
    if not holds(most):
        return None
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _at_least(trials: int, count: int, share: float) -> float:
    """P(X >= count) for X binomial of `trials` and `share`, 0 < share < 1; 1.0 where the tail is the larger half."""
    if count <= trials * share:
        return 1.0
    term = math.exp(
        math.lgamma(trials + 1)
        - math.lgamma(count + 1)
        - math.lgamma(trials - count + 1)
        + count * math.log(share)
        + (trials - count) * math.log1p(-share)
    )
    total = 0.0
    while term > total * 1e-17:
        total += term
        term *= (trials - count) / (count + 1) * share / (1 - share)
        count += 1
    return total
