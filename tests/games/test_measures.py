"""Intervals are exact, and verdicts follow them."""

import pytest
from scipy.stats import binomtest

from redoubt.games import clopper_pearson, conclude, evasion_measures
from redoubt.records import Bound, Sign, SignName, Verdict


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 30), (30, 30), (7, 20), (913, 1000), (9999, 10000)])
def test_interval_agrees_with_scipy(k, n):
    ours, theirs = clopper_pearson(k, n), binomtest(k, n).proportion_ci(0.95, "exact")
    assert ours.low == pytest.approx(theirs.low, abs=1e-12)
    assert ours.high == pytest.approx(theirs.high, abs=1e-12)


@pytest.mark.parametrize("truth", [0.02, 0.5, 0.9])
def test_interval_covers_the_truth_and_not_two_thirds_of_it(truth):
    """Summed over all outcomes: coverage of the truth is at least 95 %, of another value it is not."""
    from scipy.stats import binom

    n = 400
    covers = {v: sum(binom.pmf(k, n, truth) for k in range(n + 1) if _covers(k, n, v)) for v in (truth, truth * 2 / 3)}
    assert covers[truth] >= 0.95
    assert covers[truth * 2 / 3] < 0.95


def _covers(k, n, value):
    interval = clopper_pearson(k, n)
    return interval.low <= value <= interval.high


@pytest.mark.parametrize(("k", "n"), [(2, 1), (-1, 3), (0, 0)])
def test_what_is_no_proportion_is_refused(k, n):
    with pytest.raises(ValueError, match="no proportion"):
        clopper_pearson(k, n)


def test_measures_of_the_evasion_game():
    by_name = {m.measure: m for m in evasion_measures(clean=90, robust=60, total=100)}
    assert by_name["robust_accuracy"].value == 0.6
    assert by_name["clean_accuracy"].value == 0.9
    assert (by_name["attack_success"].successes, by_name["attack_success"].trials) == (30, 90)
    assert "attack_success" not in {m.measure for m in evasion_measures(0, 0, 10)}


SIGN = Sign(name=SignName.VANISHING_GRADIENTS, explanation="The gradient was zero on half of the examples.")


@pytest.mark.parametrize(
    ("text", "robust", "signs", "verdict", "says"),
    [
        ("robust_accuracy >= 0.85", 500, (), Verdict.VIOLATED, "requires >= 85.0%"),
        ("robust_accuracy >= 0.85", 500, (SIGN,), Verdict.VIOLATED, "requires"),
        ("robust_accuracy >= 0.85", 900, (), Verdict.WITHSTOOD, "others might not"),
        ("robust_accuracy >= 0.85", 900, (SIGN,), Verdict.UNDECIDED, "cannot be trusted"),
        ("robust_accuracy >= 0.85", 855, (), Verdict.UNDECIDED, "too few"),
        ("robust_accuracy >= 0.85", 845, (), Verdict.UNDECIDED, "too few"),
        ("attack_success <= 0.1", 500, (), Verdict.VIOLATED, "attack_success is 47.4%"),
        ("attack_success <= 0.1", 945, (), Verdict.WITHSTOOD, "attack_success is 0.5%"),
        ("clean_accuracy >= 0.9", 500, (SIGN,), Verdict.WITHSTOOD, "clean_accuracy is 95.0%"),
    ],
)
def test_verdict(text, robust, signs, verdict, says):
    bound = Bound.model_validate(Bound.parse(text))
    found, reason = conclude(bound, evasion_measures(950, robust, 1000), signs)
    assert found == verdict
    assert says in reason


def test_attack_success_of_a_model_that_is_never_right_is_undecided():
    bound = Bound.model_validate(Bound.parse("attack_success <= 0.1"))
    assert conclude(bound, evasion_measures(0, 0, 10), ())[0] == Verdict.UNDECIDED
