"""The update gate's arithmetic: intervals that cover, counts that are right, outcomes that follow from them."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from redoubt.games.update import (
    Said,
    against_stored,
    changes_of,
    compare,
    contradicted,
    judge_update,
    mean_interval,
    paired_interval,
)
from redoubt.games.update.intervals import _score
from redoubt.records import Observed, Reassessed, Update, UpdateBound, Verdict

SHA = "sha256:" + "0" * 64


# ── intervals ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("lost", "won", "rows", "difference"), [(12, 4, 100, 0.1), (3, 9, 60, 0.05), (0, 5, 80, -0.1)])
def test_the_score_uses_the_most_likely_shares(lost, won, rows, difference):
    """Against the multinomial likelihood, maximised by search rather than by Tango's root."""

    def unlikely(q):
        p = q + difference
        rest = 1 - p - q
        if q <= 0 or p <= 0 or rest <= 0:
            return math.inf
        return -(lost * math.log(p) + won * math.log(q) + (rows - lost - won) * math.log(rest))

    low, high = max(0.0, -difference), (1 - difference) / 2
    q = minimize_scalar(unlikely, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    wanted = (lost - won - rows * difference) / math.sqrt(rows * (2 * q + difference - difference**2))
    assert _score(lost, won, rows, difference) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(("p", "q", "rows"), [(0.03, 0.02, 300), (0.10, 0.05, 100), (0.01, 0.01, 1000)])
def test_the_paired_interval_covers_the_true_difference_and_not_a_wrong_one(p, q, rows):
    rng = np.random.default_rng(0)
    draws = rng.multinomial(rows, [p, q, 1 - p - q], size=1500)
    ranges = [paired_interval(int(lost), int(won), rows) for lost, won, _ in draws]
    covered = np.mean([r.low <= p - q <= r.high for r in ranges])
    assert 0.935 <= covered <= 0.985
    wrong = p - q + 0.1
    assert np.mean([r.low <= wrong <= r.high for r in ranges]) < 0.35


def test_the_paired_interval_is_a_mirror_and_has_width_where_nothing_differs():
    one, other = paired_interval(9, 2, 50), paired_interval(2, 9, 50)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)
    none = paired_interval(0, 0, 400)
    z = 1.959964
    assert none.high == pytest.approx(z**2 / (400 + z**2), rel=1e-4)  # what the score says in closed form
    with pytest.raises(ValueError, match="are no shares"):
        paired_interval(3, 3, 5)


def test_the_interval_of_a_mean_covers():
    rng = np.random.default_rng(1)
    sample = rng.beta(0.3, 6, size=(400, 500))
    ranges = [mean_interval(float(row.mean()), float(row.var(ddof=1)), len(row)) for row in sample]
    true = 0.3 / 6.3
    assert np.mean([r.low <= true <= r.high for r in ranges]) >= 0.95
    assert np.mean([r.low <= 3 * true <= r.high for r in ranges]) < 0.05


# ── counts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def said(labels, probabilities=None):
    return Said(np.array(labels), None if probabilities is None else np.array(probabilities))


def test_answers_are_counted():
    truth = np.array([0, 0, 1, 1, 2, 2])
    counts = compare(said([0, 0, 1, 0, 2, 2]), said([0, 1, 1, 1, 0, -1]), 3, "held_out", "current", truth)
    assert (counts.rows, counts.changed, counts.truth) == (6, 4, True)
    assert [(c.rows, c.lost, c.won, c.left, c.came) for c in counts.classes] == [
        (2, 1, 0, 2, 1),
        (2, 0, 1, 0, 2),
        (2, 2, 0, 2, 0),
    ]


def test_drift_is_total_variation_and_one_where_only_one_of_the_two_answers():
    before = said([0, 0, -1], [[1.0, 0.0], [0.75, 0.25], [np.nan, np.nan]])
    now = said([1, 0, 0], [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    counts = compare(before, now, 2, "queries", "current", None)
    assert counts.drift == pytest.approx((1 + 0.25 + 1) / 3)
    assert counts.drift_variance == pytest.approx(np.var([1, 0.25, 1], ddof=1))


def test_nothing_cannot_be_compared():
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(said([]), said([]), 2, "queries", "current", None)


# ── outcomes ─────────────────────────────────────────────────────────────────────────────────────────────────────


def answers(rows=4000, flips=0, gains=0, of=None):
    """A model that errs in 100 of N inputs of ten classes, and a candidate that errs in others."""
    truth = np.arange(rows) % 10
    before = truth.copy()
    wrong = np.arange(100) * 11  # all classes
    before[wrong] = (before[wrong] + 1) % 10
    now = before.copy()
    now[wrong[:gains]] = truth[wrong[:gains]]
    right = np.flatnonzero((before == truth) & ((truth == of) if of is not None else True))
    now[right[:flips]] = (truth[right[:flips]] + 3) % 10
    return before, now, truth


def observed(before, now, truth, **more):
    held = compare(said(before), said(now), 10, "held_out", "current", truth)
    return Observed(model=SHA, compared=(held, *more.pop("others", ())), **more)


def outcome(found, *bounds, **more):
    update = Update(bounds=tuple(UpdateBound.model_validate(UpdateBound.parse(bound)) for bound in bounds), **more)
    return judge_update(found, update)


@pytest.mark.parametrize(
    ("flips", "gains", "bound", "wanted"),
    [
        (4, 0, "accuracy_drop <= 1 %", "accepted"),
        (40, 0, "accuracy_drop <= 1 %", "person"),
        (80, 0, "accuracy_drop <= 1 %", "refused"),
        (80, 80, "accuracy_drop <= 1 %", "accepted"),  # as many are mended
        (80, 80, "negative_flips <= 1 %", "refused"),  # and yet customers see right answers go wrong
        (80, 80, "disagreement <= 5 %", "accepted"),
        (300, 0, "disagreement <= 5 %", "refused"),
    ],
)
def test_the_outcome_follows_from_the_whole_interval(flips, gains, bound, wanted):
    assert outcome(observed(*answers(flips=flips, gains=gains)), bound)[0] == wanted


def test_a_class_that_is_lost_is_found_though_the_whole_moves_little():
    found = observed(*answers(flips=40, gains=20, of=7))
    assert outcome(found, "accuracy_drop <= 1 %")[0] == "accepted"
    result, reasons, changes = outcome(found, "class_shift <= 3 %")
    assert result == "refused"
    (shift,) = [change for change in changes if change.measure == "class_shift"]
    assert shift.label == 7
    assert "(class 7)" in reasons[0]


def test_many_small_steps_are_counted_together():
    before, now, truth = answers(flips=20)
    _, far, _ = answers(flips=160)
    anchor = compare(said(before), said(far), 10, "held_out", "anchor", truth)
    found = observed(before, now, truth, others=(anchor,))
    assert outcome(found, "accuracy_drop <= 1 %")[0] == "refused"
    assert outcome(found, "accuracy_drop <= 1 %", total=None)[0] == "accepted"
    assert outcome(found, "accuracy_drop <= 1 %", total=6)[0] == "accepted"


def test_few_past_queries_can_break_a_bound_but_need_not_hold_it():
    held = answers(flips=4)
    same = compare(said([0] * 8), said([0] * 8), 10, "queries", "current", None)
    assert outcome(observed(*held, others=(same,)), "disagreement <= 5 %")[0] == "accepted"
    other = compare(said([0] * 8), said([1] * 8), 10, "queries", "current", None)
    assert outcome(observed(*held, others=(other,)), "disagreement <= 5 %")[0] == "refused"


def test_what_cannot_be_measured_is_left_to_a_person():
    found = observed(*answers())
    result, reasons, _ = outcome(found, "disagreement <= 5 %", "stored_changes <= 5 %")
    assert (result, reasons) == ("person", ("stored_changes is bounded and could not be measured.",))
    stored = against_stored(np.zeros(500, dtype=np.int64), said([0] * 500), 10)
    assert outcome(observed(*answers(), others=(stored,)), "disagreement <= 5 %", "stored_changes <= 5 %")[0] == (
        "accepted"
    )


def test_labels_that_the_model_contradicts_are_counted_of_a_batch_alone():
    batch = contradicted(said([1] * 60 + [0] * 140), np.zeros(200, dtype=np.int64))
    assert outcome(observed(*answers(), batch=batch), "contradicted <= 10 %", "disagreement <= 5 %")[0] == "refused"
    assert outcome(observed(*answers()), "contradicted <= 10 %", "disagreement <= 5 %")[0] == "accepted"


@pytest.mark.parametrize(
    ("verdict", "keeps", "wanted"),
    [
        (Verdict.VIOLATED, False, "refused"),
        (Verdict.UNDECIDED, False, "person"),
        (Verdict.UNDECIDED, True, "accepted"),
        (Verdict.WITHSTOOD, True, "accepted"),
    ],
)
def test_requirements_count(verdict, keeps, wanted):
    again = Reassessed(id="noise", verdict=verdict, reason="so.", keeps=keeps)
    assert outcome(observed(*answers(), requirements=(again,)), "disagreement <= 5 %")[0] == wanted


def test_answers_that_are_no_numbers_are_refused_whatever_the_bounds():
    before, now, truth = answers()
    bad = np.zeros(len(now), dtype=bool)
    bad[5] = True
    held = compare(said(before), Said(now, None, bad), 10, "held_out", "current", truth)
    assert outcome(Observed(model=SHA, compared=(held,)), "disagreement <= 99 %")[0] == "refused"


def test_each_measure_is_given_once_for_each_comparison():
    before, now, truth = answers(flips=3)
    probabilities = np.eye(10)
    held = compare(Said(before, probabilities[before]), Said(now, probabilities[now]), 10, "held_out", "current", truth)
    names = [change.measure for change in changes_of((held,), None, Update())]
    assert names == [
        "accuracy_drop",
        "disagreement",
        "negative_flips",
        "class_shift",
        "share_shift",
        "output_drift",
    ]
