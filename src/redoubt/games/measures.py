"""Measures of a game, counted, with exact confidence intervals."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from scipy.special import betaincinv

from redoubt.records import Figure, Interval, Measured

LEVEL = 0.95
Played = TypeVar("Played")


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> Interval:
    """The exact two-sided interval for a proportion (Clopper and Pearson 1934): covers with at least `level`.

    Args:
        successes: 0..trials.
        trials: at least 1.
        level: confidence, in 0..1.

    Raises:
        ValueError: the counts make no proportion.

    >>> interval = clopper_pearson(8, 10)
    >>> round(interval.low, 4), round(interval.high, 4)
    (0.4439, 0.9748)
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} of {trials} is no proportion")
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail))
    high = 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1 - tail))
    return Interval(low=low, high=high, level=level)


def measured(measure: str, successes: int, trials: int) -> Measured:
    """A proportion with its 95 % interval."""
    return Measured(measure=measure, successes=successes, trials=trials, interval=clopper_pearson(successes, trials))


def evasion_measures(clean: int, robust: int, total: int, certified: int | None = None) -> tuple[Measured, ...]:
    """The measures of an evasion game.

    Args:
        clean: inputs answered rightly when unperturbed.
        robust: those of them that no strategy brought to a wrong answer.
        total: all inputs, at least 1.
        certified: those for which it is proved that no strategy can; None if nobody tried.

    Returns:
        `robust_accuracy` = robust / total, `clean_accuracy` = clean / total, and, unless nothing was right to begin
        with, `attack_success` = (clean - robust) / clean; if anything could be proved, `certified_accuracy` =
        certified / total.
    """
    found = [measured("robust_accuracy", robust, total), measured("clean_accuracy", clean, total)]
    if clean:
        found.append(measured("attack_success", clean - robust, clean))
    if certified is not None:
        found.append(measured("certified_accuracy", certified, total))
    return tuple(found)


def strongest_of(
    played: Sequence[Played], measures: Callable[[Played, float], tuple[Figure, ...]], level: float = LEVEL
) -> tuple[Figure, ...]:
    """Every measure of the strongest strategy in it, which another may be for another measure.

    That one was picked as the strongest is counted in: the intervals hold for all strategies at once (Bonferroni), and
    reach from the greatest of the lower ends to the greatest of the upper ones.

    Args:
        played: what each strategy did; the more a measure is, the stronger.
        measures: every measure of one strategy, with intervals of that confidence.
        level: confidence, in 0..1.
    """
    each = 1 - (1 - level) / max(1, len(played))
    figures: list[Figure] = []
    for same in zip(*(measures(one, each) for one in played), strict=True):
        best = max(same, key=lambda figure: figure.value)
        low, high = max(figure.ends[0] for figure in same), max(figure.ends[1] for figure in same)
        if isinstance(best, Measured):
            figures.append(best.model_copy(update={"interval": Interval(low=low, high=high, level=level)}))
        else:
            figures.append(best.model_copy(update={"low": min(low, best.value), "high": high, "level": level}))
    return tuple(figures)
