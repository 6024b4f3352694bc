"""The measures of the membership game: counted as in the textbook, with intervals that cover."""

import itertools

import pytest
import torch
from scipy.stats import norm

from redoubt.games.measures import clopper_pearson
from redoubt.games.membership import Told, auc, conclude_membership, found_at, roc, strongest
from redoubt.records import Bound, Sign, SignName, Verdict


def told(shift, members, others, seed):
    rng = torch.Generator().manual_seed(seed)
    draw = lambda n: torch.randn(n, generator=rng, dtype=torch.float64)  # noqa: E731
    return Told(draw(members) + shift, draw(others))


def naive_found(one, rate):
    """Over all thresholds that keep the rate, the most members found."""
    best = 0
    for threshold in [*one.others.tolist(), float("inf")]:
        if sum(score > threshold for score in one.others.tolist()) <= rate * len(one.others):
            best = max(best, sum(score > threshold for score in one.members.tolist()))
    return best


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1])
def test_members_are_counted_as_in_the_textbook(rate):
    for seed in range(5):
        one = told(1.0, 80, 100, seed)
        rounded = Told(one.members.mul(2).round(), one.others.mul(2).round())  # ties
        for each in (one, rounded):
            assert found_at(each, rate, "m").successes == naive_found(each, rate)


def test_the_interval_covers_where_the_usual_one_does_not():
    """True share at a false-alarm rate of 1 % for scores N(1,1) against N(0,1), 500 others: known in closed form."""
    rate, truth = 0.01, float(norm.sf(norm.isf(0.01) - 1.0))
    ours = usual = 0
    for seed in range(400):
        measured = found_at(told(1.0, 2000, 500, seed), rate, "m")
        ours += measured.interval.low <= truth <= measured.interval.high
        naive = clopper_pearson(measured.successes, measured.trials)
        usual += naive.low <= truth <= naive.high
    assert ours >= 380  # 95 %
    assert usual < 320  # so it is no gift


def test_a_wrong_share_is_refused():
    truth = float(norm.sf(norm.isf(0.01) - 2.0))
    measured = found_at(told(2.0, 20000, 20000, 0), 0.01, "m")
    assert measured.interval.low < truth < measured.interval.high
    assert not measured.interval.low < truth * 2 / 3 < measured.interval.high
    assert not measured.interval.low < truth * 3 / 2 < measured.interval.high


def test_with_too_few_others_nothing_is_shown():
    """4,380 are the fewest for 0.1 %, as `redoubt check` says."""
    for others, shown in ((4379, False), (4380, True)):
        assert (found_at(told(9.0, 100, others, 0), 0.001, "m").interval.low > 0.9) is shown


def test_auc_is_the_share_of_pairs_and_its_interval_covers():
    one = Told(torch.tensor([1.0, 2.0, 2.0]), torch.tensor([0.0, 2.0]))
    assert auc(one).value == pytest.approx((1 + 1.5 + 1.5) / 6)
    truth = float(norm.cdf(0.5 / 2**0.5))
    covered = sum(found.low <= truth <= found.high for found in (auc(told(0.5, 300, 200, s)) for s in range(300)))
    assert 273 <= covered <= 297
    perfect = auc(told(50.0, 100, 100, 0))
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert 0.9 < perfect.low < 1


def test_the_curve_grows_and_ends_at_all():
    points = roc(told(1.0, 50, 3000, 0))
    assert points == sorted(points)
    assert points[-1] == (3000, 50)
    assert len(points) < 125
    assert all(later[1] >= earlier[1] for earlier, later in itertools.pairwise(points))


def test_the_strongest_pays_for_having_been_picked():
    chance = [told(0.0, 500, 5000, seed) for seed in range(8)]
    picked = strongest(chance)
    alone = [found_at(each, 0.01, "tpr_at_fpr_0.01") for each in chance]
    mine = next(figure for figure in picked if figure.measure == "tpr_at_fpr_0.01")
    assert mine.value == max(each.value for each in alone)
    assert mine.interval.high > max(each.interval.high for each in alone)
    assert mine.interval.low <= 0.01 <= mine.interval.high


BOUND = Bound.model_validate(Bound.parse("tpr_at_fpr_0.01 <= 5 %"))
DIFFERS = Sign(name=SignName.SPLIT_DIFFERS, explanation="They can be told apart.")
UNLIKE = Sign(name=SignName.SHADOWS_DIFFER, explanation="They are unlike.")


@pytest.mark.parametrize(
    ("shift", "others", "signs", "verdict"),
    [
        (3.0, 5000, (), Verdict.VIOLATED),
        (3.0, 5000, (UNLIKE,), Verdict.VIOLATED),
        (3.0, 5000, (DIFFERS,), Verdict.UNDECIDED),
        (3.0, 100, (), Verdict.UNDECIDED),
        (0.0, 5000, (), Verdict.WITHSTOOD),
        (0.0, 5000, (UNLIKE,), Verdict.UNDECIDED),
    ],
)
def test_verdicts(shift, others, signs, verdict):
    figures = strongest([told(shift, 2000, others, 0)])
    found, reason = conclude_membership(BOUND, figures, signs, others)
    assert found is verdict, reason
    assert all(sign.explanation in reason for sign in signs) or verdict is Verdict.VIOLATED


def test_nothing_measured_is_undecided():
    assert conclude_membership(BOUND, (), (), 10)[0] is Verdict.UNDECIDED
