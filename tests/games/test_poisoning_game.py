"""The poisoning game's judge: what is put back, what is counted, and when a bound is broken."""

import pytest
import torch

from redoubt.attacks.poisoning import PoisonedSet, Scene
from redoubt.data import Dataset
from redoubt.games.measures import clopper_pearson
from redoubt.games.poisoning import (
    Fallen,
    accuracy_drop,
    admitted,
    conclude_poisoning,
    strongest,
    targets_flipped,
)
from redoubt.records import Bound, Sign, SignName, Verdict


def scene(most=2, radius=0.1):
    x, y = torch.full((6, 3), 0.5), torch.tensor([0, 1, 0, 1, 0, 1])
    return Scene(Dataset(x, y, "clean", ""), 2, (0.0, 1.0), most, (), radius)


def test_what_is_out_of_reach_is_put_back():
    """Too far, not finite, no label, too many rows."""
    here = scene()
    x, y = here.data.x.clone(), here.data.y.clone()
    x[0] = 9.0
    x[1, 0] = float("nan")
    y[2] = 1
    y[3] = 7
    x[4] = 0.55
    found = admitted(here, PoisonedSet(Dataset(x, y, "", ""), torch.zeros(6, dtype=torch.bool)))
    assert found.rows.tolist() == [True, False, True, False, False, False]
    assert torch.allclose(found.data.x[0], torch.tensor(0.6))
    assert found.data.y.tolist() == [0, 1, 1, 1, 0, 1]
    assert torch.equal(found.data.x[1:], here.data.x[1:])


def test_honest_poison_stays_as_it_is():
    here = scene()
    y = here.data.y.clone()
    y[5] = 0
    found = admitted(here, PoisonedSet(Dataset(here.data.x, y, "", ""), torch.zeros(6, dtype=torch.bool)))
    assert torch.equal(found.data.y, y)
    assert found.rows.tolist() == [False] * 5 + [True]


def test_another_shape_is_a_fault():
    here = scene()
    with pytest.raises(ValueError, match="another shape"):
        admitted(here, PoisonedSet(Dataset(here.data.x[:3], here.data.y[:3], "", ""), torch.zeros(3)))


def test_more_victims_do_not_narrow_the_interval():
    hits = torch.tensor([True] * 3 + [False] * 7)[:, None]
    one, many = targets_flipped(hits), targets_flipped(hits.expand(-1, 5))
    assert (one.successes, one.trials, many.successes, many.trials) == (3, 10, 15, 50)
    exact = clopper_pearson(3, 10)
    assert one.ends == pytest.approx((exact.low, exact.high))
    assert many.ends == pytest.approx(one.ends)
    assert targets_flipped(torch.zeros(10, 2, dtype=torch.bool)).ends[0] == 0
    assert targets_flipped(torch.ones(10, 2, dtype=torch.bool)).ends[1] == 1


def test_the_drop_counts_pairs_and_its_interval_covers():
    """Drawn with a drop of 5 points: it is held by the interval, and neither none nor the double is."""
    rng = torch.Generator().manual_seed(0)
    before = torch.rand(2, 4000, generator=rng) < 0.95
    after = (before & (torch.rand(2, 4000, generator=rng) < 1 - 0.05 / 0.95))[None]
    drop = accuracy_drop(before, after)
    assert drop.value == pytest.approx(float(before.double().mean() - after.double().mean()))
    assert drop.low <= 0.05 <= drop.high
    assert drop.low > 0
    assert drop.high < 0.10
    same = accuracy_drop(before, before[None])
    assert same.value == 0
    assert same.low < 0 < same.high


def fallen(count, targets=40):
    hits = (torch.arange(targets) < count)[:, None]
    before = torch.ones(1, 50, dtype=torch.bool)
    return Fallen(hits, before, before.expand(targets, -1, -1))


def test_the_strongest_of_several_pays_for_having_been_picked():
    alone, picked = strongest([fallen(10)])[0], strongest([fallen(10), fallen(2), fallen(0)])[0]
    assert picked.value == alone.value == 0.25
    assert picked.ends[0] < alone.ends[0]
    assert picked.ends[1] > alone.ends[1]


def test_verdicts():
    bound = Bound(measure="targets_flipped", sense="<=", value=0.2)
    broken = Sign(name=SignName.BROKEN_STRATEGY, explanation="One broke off.")

    def verdict(count, signs=()):
        return conclude_poisoning(bound, strongest([fallen(count)]), signs)[0]

    assert verdict(30) is Verdict.VIOLATED
    assert verdict(30, [broken]) is Verdict.VIOLATED
    assert verdict(8) is Verdict.UNDECIDED
    assert verdict(0) is Verdict.WITHSTOOD
    assert verdict(0, [broken]) is Verdict.UNDECIDED
    assert conclude_poisoning(bound, (), ())[0] is Verdict.UNDECIDED
