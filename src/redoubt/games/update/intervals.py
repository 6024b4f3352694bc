"""Confidence intervals for paired answers: two models, the same inputs."""

import math

from scipy.special import ndtri

from redoubt.records import Range

_STEPS = 60  # of bisection: below the last bit that matters


def paired_interval(lost: int, won: int, rows: int, level: float = 0.95) -> Range:
    """The score interval for a difference of two shares of the same N inputs (Tango 1998, section 2).

    Both models answer the same inputs, so their accuracies rise and fall together; an interval for independent samples
    would be too wide.  The score interval keeps its level also where hardly any answer differs, where Wald's has no
    width at all.  It is asymptotic: its coverage is near the level, and not guaranteed to reach it.

    Args:
        lost: inputs that count before and not now.
        won: those that count now and not before.
        rows: N, all inputs.
        level: confidence, in 0..1.

    Returns:
        An interval for (lost - won) / N.

    Raises:
        ValueError: the counts make no shares.

    >>> interval = paired_interval(0, 0, 100)
    >>> round(interval.low, 4), round(interval.high, 4)
    (-0.037, 0.037)
    """
    if rows < 1 or lost < 0 or won < 0 or lost + won > rows:
        raise ValueError(f"{lost} lost and {won} won of {rows} are no shares")
    z = -float(ndtri((1 - level) / 2))
    found = (lost - won) / rows

    def end(outer: float, target: float) -> float:
        """Where between the estimate and `outer` the score falls to `target`, or rises to it."""
        near, far = found, outer
        for _ in range(_STEPS):
            middle = (near + far) / 2
            if abs(_score(lost, won, rows, middle)) < target:
                near = middle
            else:
                far = middle
        return far

    return Range(low=max(end(-1.0, z), -1.0), high=min(end(1.0, z), 1.0), level=level)


def _score(b: int, c: int, n: int, difference: float) -> float:
    """Tango's score of `difference`: how many standard deviations the counts are from it."""
    first = 2 * n
    second = -b - c + (2 * n - b + c) * difference
    third = -c * difference * (1 - difference)
    root = math.sqrt(max(second * second - 4 * first * third, 0.0))
    q = (root - second) / (2 * first)  # the share of `won` that fits `difference` best
    variance = n * (2 * q + difference * (1 - difference))
    away = b - c - n * difference
    if variance <= 1e-12 * n:
        return 0.0 if abs(away) < 1e-9 * n else math.copysign(math.inf, away)
    return away / math.sqrt(variance)


def mean_interval(mean: float, variance: float, rows: int, level: float = 0.95) -> Range:
    """An interval for the mean of values in 0..1: empirical Bernstein (Maurer and Pontil 2009, theorem 4).

    Guaranteed, whatever the distribution.

    Args:
        mean: of the N values.
        variance: of the sample, with N - 1.
        rows: N.
        level: confidence, in 0..1.

    >>> mean_interval(0.5, 0.0, 1)
    Range(low=0.0, high=1.0, level=0.95)
    """
    if rows < 2:
        return Range(low=0.0, high=1.0, level=level)
    logarithm = math.log(4 / (1 - level))
    width = math.sqrt(2 * variance * logarithm / rows) + 7 * logarithm / (3 * (rows - 1))
    return Range(low=max(mean - width, 0.0), high=min(mean + width, 1.0), level=level)
