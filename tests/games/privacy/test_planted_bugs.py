"""The audit catches private training that is broken in the ways in which it is broken in practice, and no correct one.

Each fault is planted into the real fast path; what is claimed is what the unbroken one would write into its ledger.
"""

import dataclasses

import pytest
import torch

from redoubt.attacks.canary import dirac, linear_traces
from redoubt.bounds.privacy import PrivacyLedger
from redoubt.bounds.privacy.claim import claim_of
from redoubt.games.privacy import play_many_runs, play_one_run
from redoubt.harden.private import Plan, Poisson, Shuffled, linear, train_linear
from redoubt.harden.private.randomness import PrivateRandom
from redoubt.records import Verdict

CANARIES, RECORDS, CLASSES = 400, 600, 2
PLAN = Plan(rate=0.1, noise_multiplier=1.0, steps=20, clip=4.0, learning_rate=1e-9, momentum=0.5)


def records(width):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(RECORDS, width, generator=rng)
    x[:, :-20] = 0  # a canary has its feature to itself
    return x, torch.randint(0, CLASSES, (RECORDS,), generator=rng)


def trainer(plan, canaries, seed, **settings):
    seeds = iter(range(seed * 1000, (seed + 1) * 1000))

    def train(x, y):
        course = [torch.zeros(CLASSES, x.shape[1] + 1)]
        train_linear(
            x,
            y,
            CLASSES,
            plan,
            heard=lambda _step, weight, bias: course.append(torch.cat([weight, bias[:, None]], dim=1)),
            insecure_seed=next(seeds),
            **settings,
        )
        return linear_traces(torch.stack(course), canaries, plan.momentum)

    return train


def audit(plan=PLAN, seed=0, count=CANARIES, **settings):
    canaries = dirac(count, count + 20, CLASSES)
    x, y = records(count + 20)
    claim, curve = claim_of(PrivacyLedger().plus(plan.event()), 1e-5)
    rng = torch.Generator().manual_seed(seed)
    return play_one_run(trainer(plan, canaries, seed, **settings), x, y, canaries, claim, curve, rng)


def test_a_correct_training_is_not_accused():
    """Each may be with probability 0.05; of 20, more than 4 are with probability 0.003."""
    found = [audit(seed=seed) for seed in range(20)]
    assert sum(each.verdict is Verdict.VIOLATED for each in found) <= 4
    assert all(each.epsilon_lower_bound <= each.claim.epsilon for each in found)
    assert sorted(each.epsilon_lower_bound for each in found)[10] > 0.1  # it does see something


def test_noise_without_the_clip_as_its_scale_is_caught(monkeypatch):
    monkeypatch.setattr(
        linear, "add_noise", lambda gradient, deviation, random: add(gradient, PLAN.noise_multiplier, random)
    )
    found = audit()
    assert found.verdict is Verdict.VIOLATED
    assert "more than its ledger says" in found.reason


def test_noise_divided_by_the_batch_is_caught(monkeypatch):
    batch = PLAN.rate * RECORDS
    monkeypatch.setattr(
        linear, "add_noise", lambda gradient, deviation, random: add(gradient, deviation / batch, random)
    )
    assert audit().verdict is Verdict.VIOLATED


def test_no_clipping_is_caught(monkeypatch):
    monkeypatch.setattr(linear, "clipped_sum", lambda *given: clipped(*given[:-1], 1e30))
    assert audit().verdict is Verdict.VIOLATED


def test_clipping_the_batch_instead_of_each_record_is_caught(monkeypatch):
    def per_batch(*given):
        mean = clipped(*given[:-1], 1e30) / max(1, len(given[4]))
        return mean * min(1.0, PLAN.clip / float(mean.norm())) * len(given[4])

    monkeypatch.setattr(linear, "clipped_sum", per_batch)
    assert audit(count=40).verdict is Verdict.VIOLATED


def test_noise_that_repeats_in_every_step_is_caught(monkeypatch):
    monkeypatch.setattr(
        linear,
        "add_noise",
        lambda gradient, deviation, random: add(gradient, deviation, PrivateRandom.insecure(1)),
    )
    found = audit()
    assert found.verdict is Verdict.VIOLATED


@dataclasses.dataclass(frozen=True)
class Pretends:
    """Says that it samples by Poisson, and does otherwise."""

    rate: float
    other: object

    def batches(self, records, steps, random):
        return self.other.batches(records, steps, random)


def test_every_record_in_every_step_is_caught(monkeypatch):
    monkeypatch.setattr(linear, "must_be_poisson", lambda *_: None)
    assert audit(sampler=Pretends(PLAN.rate, Poisson(1.0))).verdict is Verdict.VIOLATED


@pytest.mark.parametrize("steps", [10, 20])
def test_shuffled_batches_counted_as_poisson_are_caught(monkeypatch, steps):
    """Shuffled, a record takes part once in an epoch; sampled, in one of three epochs never: which little noise shows."""
    monkeypatch.setattr(linear, "must_be_poisson", lambda *_: None)
    plan = dataclasses.replace(PLAN, noise_multiplier=0.25, steps=steps)
    size = (RECORDS + CANARIES // 2) // 10
    wrong = audit(plan, sampler=Pretends(plan.rate, Shuffled(size)))
    assert wrong.verdict is Verdict.VIOLATED
    assert audit(plan).verdict is Verdict.WITHSTOOD


def test_many_runs_see_more_than_one():
    canary = dirac(1, 21, CLASSES)
    plan = dataclasses.replace(PLAN, rate=1.0, noise_multiplier=2.0, steps=4)  # 1-GDP, which is tight here
    claim, curve = claim_of(PrivacyLedger().plus(plan.event()), 1e-5)
    x, y = records(21)
    x, y = x[:50], y[:50]
    right = play_many_runs(
        trainer(plan, canary, 3), x, y, canary, 600, claim, curve, torch.Generator().manual_seed(0)
    )
    assert right.verdict is Verdict.WITHSTOOD
    assert 0.2 < right.epsilon_lower_bound < claim.epsilon
    assert 0.5 * claim.epsilon < right.gaussian_epsilon < claim.epsilon
    half = dataclasses.replace(plan, noise_multiplier=1.0)
    wrong = play_many_runs(
        trainer(half, canary, 3), x, y, canary, 600, claim, curve, torch.Generator().manual_seed(0)
    )
    assert wrong.verdict is Verdict.VIOLATED
    assert wrong.gaussian_epsilon > claim.epsilon


clipped, add = linear.clipped_sum, linear.add_noise
