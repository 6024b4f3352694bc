"""Teachers are disjoint and resumable, aggregators have their noise, costs add up in the ledger, the student learns."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, laplace, norm

from redoubt.bounds.privacy import (
    GaussianRelease,
    PrivacyLedger,
    epsilon,
    explain_spend,
    parse_ledger,
    spend,
    write_ledger,
)
from redoubt.bounds.privacy.pate import log_q_gaussian, noisy_max
from redoubt.harden.pate import (
    Confident,
    Gaussian,
    Interactive,
    Laplace,
    Ridge,
    aggregate,
    ask,
    cast_votes,
    cost_of,
    learn,
    partition,
    release,
)
from redoubt.harden.pate.aggregate import histogram
from redoubt.harden.pate.consistency import Course, learn_consistent
from redoubt.harden.private.randomness import PrivateRandom
from redoubt.records import DataError, PolicyError


def data(rows=600, seed=0):
    rng = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (rows,), generator=rng)
    centres = 3 * torch.randn(3, 8, generator=torch.Generator().manual_seed(9))
    return centres[y] + torch.randn(rows, 8, generator=rng), y


def counts(*rows):
    return torch.tensor(rows)


# ── teachers ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_record_has_one_teacher():
    parts = partition(101, 10, torch.Generator().manual_seed(0))
    assert torch.cat(parts).sort().values.tolist() == list(range(101))
    assert {len(part) for part in parts} == {10, 11}
    with pytest.raises(DataError, match="1 teachers"):
        partition(10, 1, torch.Generator())


def test_votes_are_kept_teacher_by_teacher_and_one_record_moves_one_teacher(tmp_path):
    x, y = data()
    public, truth = data(200, seed=1)
    parts = partition(len(y), 20, torch.Generator().manual_seed(0))
    taught = []

    def teach(own, labels, seen):
        taught.append(len(labels))
        if len(taught) == 13:
            raise KeyboardInterrupt
        return Ridge(3)(own, labels, seen)

    with pytest.raises(KeyboardInterrupt):
        cast_votes(parts, x, y, public, teach, 3, tmp_path, "a")
    votes = cast_votes(parts, x, y, public, teach, 3, tmp_path, "a")
    assert len(taught) <= 22  # one was killed; the others were not taught twice
    assert torch.equal(votes, torch.stack([Ridge(3)(x[part], y[part], public) for part in parts]))
    assert float((histogram(votes, 3).argmax(1) == truth).double().mean()) > 0.9
    changed = y.clone()
    changed[int(parts[4][0])] = (changed[int(parts[4][0])] + 1) % 3
    others = cast_votes(parts, x, changed, public, Ridge(3), 3, tmp_path, "b", workers=2)
    assert (votes != others).any(1).nonzero().flatten().tolist() in ([], [4])


def test_teachers_who_share_a_record_and_files_of_other_votes_are_refused(tmp_path):
    x, y = data()
    with pytest.raises(DataError, match="share a record"):
        cast_votes((torch.tensor([0, 1]), torch.tensor([1, 2])), x, y, x, Ridge(3), 3, tmp_path, "a")
    parts = partition(len(y), 4, torch.Generator().manual_seed(0))
    cast_votes(parts, x, y, x[:50], Ridge(3), 3, tmp_path, "a")
    with pytest.raises(DataError, match="other votes"):
        cast_votes(parts, x, y, x[:60], Ridge(3), 3, tmp_path, "a")
    np.save(next(tmp_path.glob("*.npy")), np.full(50, 7, np.uint8))
    with pytest.raises(DataError, match="other votes"):
        cast_votes(parts, x, y, x[:50], Ridge(3), 3, tmp_path, "a")


# ── aggregators ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("drawn", "law"), [(aggregate._laplace, laplace), (aggregate._gaussian, norm)])
def test_noise_has_its_law_and_not_one_of_two_thirds_or_three_halves_of_it(drawn, law):
    noise = drawn(torch.Size([20_000]), PrivateRandom()).numpy()
    assert kstest(noise, law.cdf).pvalue > 1e-6
    for factor in (2 / 3, 3 / 2):
        assert kstest(noise * factor, law.cdf).pvalue < 1e-6


@pytest.mark.parametrize("aggregator", [Gaussian(20.0), Laplace(15.0)])
def test_the_label_with_most_votes_wins_as_often_as_its_noise_says(aggregator):
    found = ask(aggregator, counts([60, 40]).repeat(20_000, 1))
    law = norm.cdf(20 / (20 * math.sqrt(2))) if isinstance(aggregator, Gaussian) else None
    over = 20 / 15
    expected = law if law is not None else 1 - (2 + over) / 4 * math.exp(-over)
    assert float((found.labels == 0).double().mean()) == pytest.approx(expected, abs=0.02)
    assert bool(found.voted.all())
    assert not bool(found.checked.any())


def test_a_confident_aggregator_answers_where_teachers_agree():
    found = ask(
        Confident(threshold=200, check=20.0, deviation=10.0), counts([250, 0, 0], [120, 100, 30]).repeat(500, 1)
    )
    agreed, divided = found.voted[0::2], found.voted[1::2]
    assert float(agreed.double().mean()) == pytest.approx(norm.cdf(2.5), abs=0.03)
    assert float(divided.double().mean()) < 0.01
    assert set(found.labels[1::2][~divided].tolist()) == {-1}
    assert bool(found.checked.all())


def test_an_interactive_aggregator_votes_where_the_student_is_wrong_and_confirms_it_where_it_is_sure():
    aggregator = Interactive(threshold=100, check=10.0, deviation=10.0)
    votes = counts([250, 0], [250, 0], [250, 0])
    predictions = torch.tensor([[0.05, 0.95], [0.98, 0.02], [0.8, 0.2]])
    found = ask(aggregator, votes, predictions)
    assert found.voted.tolist() == [True, False, False]
    assert found.labels.tolist() == [0, 0, -1]
    with pytest.raises(DataError, match="no predictions"):
        ask(aggregator, votes)


def test_no_noise_is_refused():
    for aggregator in (Gaussian(0.0), Laplace(0.0), Confident(10, 0.0, 1.0)):
        with pytest.raises(PolicyError, match="above 0"):
            ask(aggregator, counts([3, 2]))


# ── costs ────────────────────────────────────────────────────────────────────────────────────────────────────────

AGREED = counts([245, 5, 0], [240, 6, 4], [130, 110, 10]).repeat(100, 1)


def test_what_was_not_voted_on_costs_its_check_alone():
    aggregator = Confident(threshold=200, check=100.0, deviation=40.0)
    answers = ask(aggregator, AGREED, insecure_seed=0)
    cost = cost_of(aggregator, AGREED, answers, 14.0)
    assert (cost.checks > 0).all()
    assert ((cost.votes > 0) == answers.voted.numpy()).all()
    one = noisy_max(log_q_gaussian([245, 5, 0], 40.0), 40.0, 14.0)
    assert cost.votes[0] in (0.0, pytest.approx(one))


def test_costs_go_into_the_ledger_by_part_and_only_renyi_counts_them():
    aggregator = Confident(threshold=200, check=100.0, deviation=40.0)
    answers = ask(aggregator, AGREED, insecure_seed=0)
    ledger = PrivacyLedger().plus(*cost_of(aggregator, AGREED, answers, 14.0).events())
    assert parse_ledger(write_ledger(ledger), "ledger") == ledger
    spent = spend(ledger, 1e-5)
    assert spent.by == "rdp"
    assert [share.event.part for share in spent.shares] == ["threshold-check", "noisy-max"]
    assert sum(share.share for share in spent.shares) == pytest.approx(1)
    total = sum(event.cost for event in ledger.events)
    order = 14.0
    mironov = total + math.log(1e5) / (order - 1)
    assert 0.5 * mironov < spent.epsilon <= mironov  # dp-accounting's conversion is the better one
    assert "Not for publication" in " ".join(explain_spend(spent))
    more = spend(ledger.plus(GaussianRelease(noise_multiplier=10.0)), 1e-5)
    assert more.epsilon > spent.epsilon
    with pytest.raises(PolicyError, match="'data-dependent'"):
        epsilon(ledger.events, 1e-5, "pld")


def test_votes_on_agreement_cost_less_than_their_noise_alone():
    agreed = counts([250, 0, 0]).repeat(300, 1)
    aggregator = Gaussian(40.0)
    cost = cost_of(aggregator, agreed, ask(aggregator, agreed), 14.0)
    assert cost.votes.sum() < 0.1 * 300 * 14.0 / 40.0**2


def test_a_released_cost_is_above_the_true_one_and_says_so():
    aggregator = Confident(threshold=200, check=100.0, deviation=40.0)
    answers = ask(aggregator, AGREED, insecure_seed=0)
    cost = cost_of(aggregator, AGREED, answers, 14.0)
    true = cost.checks.sum() + cost.votes.sum()
    found = [release(cost, aggregator, AGREED, answers, beta=0.01, noise=10.0) for _ in range(12)]
    assert sum(each.events[0].cost < true for each in found) <= 3
    assert np.std([each.cost for each in found]) == pytest.approx(found[0].deviation, rel=0.7)
    assert [event.part for event in found[0].events] == ["answers", "release"]
    spent = spend(PrivacyLedger().plus(*found[0].events), 1e-5)
    assert "Not for publication" not in " ".join(explain_spend(spent))
    with pytest.raises(PolicyError, match="Laplace"):
        release(cost, Laplace(10.0), AGREED, answers, beta=0.01, noise=10.0)


# ── the student ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_student_learns_from_answers_and_from_inputs_without_one():
    x, truth = data(900, seed=3)
    labels = torch.where(torch.arange(900) < 6, truth, -1)
    labels[600:] = -1
    alone, together = learn(x[:600], labels[:600], 3, rounds=0), learn(x[:600], labels[:600], 3, rounds=4, sure=0.2)
    assert together.accuracy(x[600:], truth[600:]) >= alone.accuracy(x[600:], truth[600:])
    assert together.accuracy(x[600:], truth[600:]) > 0.9
    with pytest.raises(DataError, match="answered nothing"):
        learn(x, torch.full((900,), -1), 3)


def test_a_student_of_images_learns_from_those_without_an_answer_by_consistency():
    rng = torch.Generator().manual_seed(0)
    truth = torch.arange(240) % 2
    images = 0.2 * torch.rand(240, 1, 28, 28, generator=rng)
    images[truth == 0, :, 6:22, 12:16] += 0.8  # upright and lying bars
    images[truth == 1, :, 12:16, 6:22] += 0.8
    labels = torch.where(torch.arange(240) < 6, truth, -1)
    before = torch.random.get_rng_state()
    student = learn_consistent(images, labels, 2, Course(steps=40, batch=8), torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.random.get_rng_state())
    with torch.no_grad():
        assert float((student(images).argmax(1) == truth).double().mean()) > 0.9
    with pytest.raises(DataError, match="0 answers"):
        learn_consistent(images, torch.full((240,), -1), 2, Course(), torch.Generator())
