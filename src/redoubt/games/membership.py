"""The membership game: of records shown, tell those that the model was trained on.

The plan:

1. members and others are shown, with their labels                    (judge)
2. a strategy gives each a score: the greater, the more a member       (strategy)
3. the judge alone knows who is who, and counts                        (judge)

What is counted is the share of members found at the threshold that a given share of others passes, at low shares
(Carlini et al. 2022, section 3): to be sure of a few is worse than to guess a little better about all.

**Intervals.**  That threshold is a quantile of the others' scores, and is not known but estimated from those at hand.
An interval that takes it as given, as is usual, is too narrow: with 1,000 others, the one highest score stands for a
rate of 0.1 % which may as well be 0.4 %.  Here the threshold's own uncertainty is counted in.  Order statistics of the
others enclose the true quantile whatever their distribution; the share of members beyond either end has the exact
interval of Clopper and Pearson; each of the four tails may be wrong with a quarter of what the interval may
(Bonferroni).  Where there are too few others for any threshold to be known to keep the rate, the lower end is 0.

The intervals cover the chance in drawing the records, for this one model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.special import bdtr, bdtrc, ndtri
from torch import Tensor

from redoubt.games.measures import LEVEL, clopper_pearson, strongest_of
from redoubt.records import Bound, Estimated, Figure, Interval, Measured, Sign, SignName, Verdict
from redoubt.records.membership import FALSE_ALARMS


@dataclass(frozen=True)
class Told:
    """What a strategy said.

    Attributes:
        members: its scores of the members, finite float64 `[N1]`, N1 >= 1.
        others: of the others, `[N0]`, N0 >= 1.
    """

    members: Tensor
    others: Tensor


def found_at(told: Told, rate: float, measure: str, level: float = LEVEL) -> Measured:
    """Members found by the threshold that at most `rate` of the others pass; the interval counts in the threshold.

    Args:
        told: the scores.
        rate: of false alarms, in (0, 1).
        measure: its name.
        level: confidence of the interval.
    """
    ordered = told.others.sort(descending=True).values
    count, members, tail = len(ordered), len(told.members), (1 - level) / 4

    def beyond(place: int) -> int:
        """Members beyond the place-th highest score of the others, counted from 1; all of them where there is none."""
        return members if place > count else int((told.members > ordered[place - 1]).sum())

    found = beyond(math.floor(rate * count * (1 + 1e-12)) + 1)
    above = _place_above(count, rate, tail)
    below = _place_below(count, rate, tail)
    low = 0.0 if above == 0 else clopper_pearson(beyond(above), members, 1 - 2 * tail).low
    high = clopper_pearson(beyond(below), members, 1 - 2 * tail).high
    return Measured(
        measure=measure, successes=found, trials=members, interval=Interval(low=low, high=max(low, high), level=level)
    )


def _place_above(count: int, rate: float, tail: float) -> int:
    """The lowest place whose score is above the true quantile, but for `tail`; 0 if not even the highest is.

    Fewer than j others reach the quantile with the probability that a binomial count is below j, at most.
    """
    place = 0
    while place < count and float(bdtr(place, count, rate)) <= tail:
        place += 1
    return place


def _place_below(count: int, rate: float, tail: float) -> int:
    """The highest place whose score is at most the true quantile, but for `tail`; beyond the last if none is."""
    place = 1
    while place <= count and float(bdtrc(place - 1, count, rate)) > tail:
        place += 1
    return place


def auc(told: Told, level: float = LEVEL) -> Estimated:
    """Probability that a member's score is above another's, ties counting half; with the interval of DeLong et al.

    The interval (1988) is asymptotic, formed on the logit scale; where all pairs agree it is that of the rule of three.
    """
    members, others = told.members.double(), told.others.double()
    n1, n0 = len(members), len(others)
    over = _share_below(members, others)  # of the others, below each member
    under = 1 - _share_below(others, members)
    value = float(over.mean())
    variance = (float(over.var(correction=1)) / n1 if n1 > 1 else 0.25) + (
        float(under.var(correction=1)) / n0 if n0 > 1 else 0.25
    )
    if not 0 < value < 1 or variance == 0:
        edge = min(1.0, -math.log((1 - level) / 2) / min(n1, n0))
        low, high = max(0.0, value - edge), min(1.0, value + edge)
    else:
        reach = float(ndtri((1 + level) / 2)) * math.sqrt(variance) / (value * (1 - value))
        centre = math.log(value / (1 - value))
        low, high = (1 / (1 + math.exp(-(centre + side * reach))) for side in (-1, 1))
    return Estimated(
        measure="membership_auc", value=value, low=min(low, value), high=max(high, value), level=level, method="DeLong"
    )


def _share_below(scores: Tensor, of: Tensor) -> Tensor:
    """For each score the share of `of` below it, ties counting half."""
    ordered = of.sort().values
    left, right = (torch.searchsorted(ordered, scores.contiguous(), right=side) for side in (False, True))
    return (left + right).double() / (2 * len(ordered))


def roc(told: Told, most: int = 120) -> list[tuple[int, int]]:
    """Pairs of others taken for members and members found, at thresholds that are about evenly spaced in logarithm."""
    ordered = told.others.sort(descending=True).values
    count = len(ordered)
    places = {round(10 ** (math.log10(count) * at / most)) for at in range(most + 1)} if count > 1 else {1}
    points = [(0, int((told.members > ordered[0]).sum()))]
    for place in sorted(places):
        if place < count:
            threshold = ordered[place]
            points.append((int((told.others > threshold).sum()), int((told.members > threshold).sum())))
    points.append((count, len(told.members)))
    return sorted(set(points))


def membership_measures(told: Told, level: float = LEVEL) -> tuple[Figure, ...]:
    """Every measure of the game, of one strategy."""
    return (*(found_at(told, rate, name, level) for name, rate in FALSE_ALARMS.items()), auc(told, level))


def strongest(told: Sequence[Told]) -> tuple[Figure, ...]:
    """Every measure of the strongest strategy in it; see `strongest_of`."""
    return strongest_of(told, membership_measures)


def conclude_membership(
    bound: Bound, measures: Sequence[Figure], signs: Sequence[Sign], others: int
) -> tuple[Verdict, str]:
    """The verdict on one requirement, and why, in plain sentences.

    VIOLATED if the whole interval is above the bound, unless members and others can be told apart without the model:
    then nobody knows what the strategy recognised.  WITHSTOOD if the whole interval is below it and no sign was raised.
    UNDECIDED otherwise.
    """
    found = next((figure for figure in measures if figure.measure == bound.measure), None)
    if found is None:
        return Verdict.UNDECIDED, "No strategy could be played to its end, so nothing was measured."
    low, high = found.ends
    figure = f"{found.measure} is {found.value:.2%} (95 % interval {low:.2%} to {high:.2%}, thresholds counted in)"
    limit = f"{bound.sense} {bound.value:.2%}"
    told = " ".join(sign.explanation for sign in signs)
    if low > bound.value:
        if any(sign.name is SignName.SPLIT_DIFFERS for sign in signs):
            return (
                Verdict.UNDECIDED,
                f"{figure}, which breaks the bound {limit}, but not the model need be to blame: {told}",
            )
        return Verdict.VIOLATED, f"{figure}; the policy requires {limit}."
    if high > bound.value:
        return Verdict.UNDECIDED, (
            f"{figure}, and the bound {limit} lies inside the interval: {others} others are too few to tell. "
            "Take more records, members and others."
        )
    if signs:
        return Verdict.UNDECIDED, f"{figure}, which keeps the bound {limit}, but that says little here: {told}"
    return Verdict.WITHSTOOD, (
        f"{figure}; the policy requires {limit}. The strategies that were played failed, with the shadow models they "
        "had; others might not."
    )
