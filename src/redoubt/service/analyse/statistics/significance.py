"""The tests that analysers share: each gives a probability under the honest hypothesis, and an effect size.

Entries of one account are not independent draws, so tests between windows are corrected for clustering by account
(Rao and Scott 1981, first order), and what is asked of many accounts or windows is corrected for that (Holm 1979).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FEWEST_ACCOUNTS = 5  # below, clustering by account cannot be estimated


@dataclass(frozen=True)
class Shift:
    """How far two windows differ.

    Attributes:
        p: probability of as much if both came from one distribution.
        effect: total variation distance (labels, actions) or Kolmogorov's D (signals), 0 to 1.
        clustered: whether clustering by account could be corrected for.
    """

    p: float
    effect: float
    clustered: bool


def holm(p: Sequence[float], tests: int | None = None) -> list[float]:
    """The p-values corrected for how many there are (Holm 1979): those at most a are false with probability a at most.

    Args:
        p: the values.
        tests: how many tests were made in all, if those in `p` are not all: then it errs on the safe side.

    >>> [round(value, 3) for value in holm([0.01, 0.5, 0.02])]
    [0.03, 0.5, 0.04]
    """
    total = tests or len(p)
    corrected, worst = [0.0] * len(p), 0.0
    for rank, at in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        worst = max(worst, min(1.0, p[at] * (total - rank)))
        corrected[at] = worst
    return corrected


def at_least(successes: int, trials: int, chance: float) -> float:
    """Probability of `successes` or more in so many trials, each with that chance."""
    return float(stats.binom.sf(successes - 1, trials, chance))


def highest_chance(successes: int, trials: int, confidence: float = 0.99) -> float:
    """The greatest chance that so few successes are still compatible with (Clopper and Pearson 1934, one-sided)."""
    return 1.0 if successes >= trials else float(stats.beta.ppf(confidence, successes + 1, trials - successes))


def counts_shift(before: NDArray[np.int64], after: NDArray[np.int64]) -> Shift:
    """Whether two windows have the same shares of K cells: Pearson's chi-squared, corrected for clustering.

    Args:
        before: counts `[accounts, K]` of the first window.
        after: the same of the other.
    """
    one, two = before.sum(0), after.sum(0)
    enough = _enough(one, two)
    before, after = _pooled(before, enough), _pooled(after, enough)
    one, two = before.sum(0), after.sum(0)
    cells = len(one)
    if cells < 2 or not one.sum() or not two.sum():
        return Shift(1.0, 0.0, clustered=False)
    shares_one, shares_two = one / one.sum(), two / two.sum()
    pooled = (one + two) / (one.sum() + two.sum())
    expected = np.outer([one.sum(), two.sum()], pooled)
    chi2 = float((((np.stack([one, two]) - expected) ** 2) / expected).sum())
    effect = float(np.abs(shares_one - shares_two).sum() / 2)
    clustered = min(len(before), len(after)) >= FEWEST_ACCOUNTS
    if not clustered:
        return Shift(float(stats.chi2.sf(chi2, cells - 1)), effect, clustered)
    chi2 /= (design_effect(before) + design_effect(after)) / 2
    freedom = (cells - 1) * (len(before) + len(after) - 2)
    return Shift(float(stats.f.sf(chi2 / (cells - 1), cells - 1, freedom)), effect, clustered)


def design_effect(counts: NDArray[np.int64]) -> float:
    """How many times the variance of shares is what it would be if entries were independent; at least 1.

    Args:
        counts: `[accounts, K]`.
    """
    n, totals = counts.sum(), counts.sum(1)
    shares = counts.sum(0) / n
    spread = ((counts - np.outer(totals, shares)) ** 2).sum(0) * len(counts) / (len(counts) - 1) / n**2
    alone = shares * (1 - shares) / n
    some = alone > 0
    if not some.any():
        return 1.0
    weights = 1 - shares[some]
    return max(1.0, float((weights * spread[some] / alone[some]).sum() / weights.sum()))


def values_shift(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    before_accounts: NDArray[np.int64],
    after_accounts: NDArray[np.int64],
) -> Shift:
    """Whether two windows have the same distribution of a signal: Kolmogorov and Smirnov, corrected for clustering.

    Args:
        before: values of the first window, `[N]`.
        after: those of the other, `[M]`.
        before_accounts: whose each is, as a number from 0, `[N]`.
        after_accounts: the same of the other, `[M]`.
    """
    both = np.sort(np.concatenate([before, after]))
    steps = [np.searchsorted(np.sort(values), both, side="right") / len(values) for values in (before, after)]
    gaps = np.abs(steps[0] - steps[1])
    distance = float(gaps.max())
    # where the gap is greatest, the design effect of being below that value is the one that counts
    cut = both[int(gaps.argmax())]
    n, m = float(len(before)), float(len(after))
    one, two = below_by_account(before, before_accounts, cut), below_by_account(after, after_accounts, cut)
    clustered = min(len(one), len(two)) >= FEWEST_ACCOUNTS
    if clustered:
        n, m = n / design_effect(one), m / design_effect(two)
    return Shift(float(stats.kstwobign.sf(distance * np.sqrt(n * m / (n + m)))), distance, clustered)


def below_by_account(values: NDArray[np.float64], accounts: NDArray[np.int64], cut: float) -> NDArray[np.int64]:
    """How many values of each account are above and at most `cut`, `[accounts, 2]`."""
    counts = np.zeros((int(accounts.max()) + 1, 2), dtype=np.int64)
    np.add.at(counts, (accounts, (values <= cut).astype(np.int64)), 1)
    return np.asarray(counts[counts.sum(1) > 0])


def _enough(one: NDArray[np.int64], two: NDArray[np.int64], least: float = 5.0) -> NDArray[np.bool_]:
    """Cells in which at least 5 are expected in either window, as the chi-squared approximation asks."""
    both = one + two
    smaller = min(one.sum(), two.sum()) / max(both.sum(), 1)
    return np.asarray(both * smaller >= least)


def _pooled(counts: NDArray[np.int64], enough: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The counts with all small cells as one."""
    rest = counts[:, ~enough].sum(1, keepdims=True)
    return np.concatenate([counts[:, enough], rest], axis=1) if rest.any() else counts[:, enough]
