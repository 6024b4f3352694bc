"""The audit catches private training that is broken in the ways in which it is broken in practice, and no correct one.

Each fault is planted into the real fast path; what is claimed is what the unbroken one would write into its ledger.
"""

import dataclasses
import functools

import numpy as np
import torch

from redoubt.attacks.canary import dirac, linear_traces
from redoubt.bounds.privacy import PrivacyLedger
from redoubt.bounds.privacy.claim import claim_of
from redoubt.games.privacy import Tradeoff, play_many_runs, play_one_run
from redoubt.harden.private import Plan, Poisson, Shuffled, linear, train_linear
from redoubt.harden.private.randomness import PrivateRandom
from redoubt.records import Verdict
from redoubt.records.privacy import PrivacyClaim

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


@functools.cache
def claimed(plan):
    return claim_of(PrivacyLedger().plus(plan.event()), 1e-5)


def audit(plan=PLAN, seed=0, count=CANARIES, **settings):
    canaries = dirac(count, count + 20, CLASSES)
    x, y = records(count + 20)
    claim, curve = claimed(plan)
    rng = torch.Generator().manual_seed(seed)
    return play_one_run(trainer(plan, canaries, seed, **settings), x, y, canaries, claim, curve, rng)


def test_a_correct_training_is_not_accused():
    """Each may be with probability 0.05; of 5, more than 2 are with probability 0.0012."""
    found = [audit(seed=seed) for seed in range(5)]
    assert sum(each.verdict is Verdict.VIOLATED for each in found) <= 2
    assert all(each.epsilon_lower_bound <= each.claim.epsilon for each in found)


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
    assert audit().verdict is Verdict.VIOLATED


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


def audit_often(plan, claim, curve, runs, **settings):
    canary = dirac(1, 21, CLASSES)
    x, y = records(21)
    rng = torch.Generator().manual_seed(0)
    return play_many_runs(trainer(plan, canary, 3, **settings), x[:50], y[:50], canary, runs, claim, curve, rng)


def test_shuffled_batches_counted_as_poisson_are_caught(monkeypatch):
    """Shuffled, a record takes part once in an epoch; sampled, in one of three epochs never, which little noise shows.

    The claim is only that: no test can be right about a record more often than it takes part.
    """
    monkeypatch.setattr(linear, "must_be_poisson", lambda *_: None)
    plan = dataclasses.replace(PLAN, rate=0.2, noise_multiplier=0.25, steps=5)
    at_most = 1 - (1 - plan.rate) ** plan.steps
    given = PrivacyClaim(epsilon=30.0, delta=1e-5, by="by hand"), Tradeoff(np.zeros(1), np.array([at_most]))
    wrong = audit_often(plan, *given, 400, sampler=Pretends(plan.rate, Shuffled(10)))
    assert wrong.verdict is Verdict.VIOLATED
    assert wrong.claim_by.distinguisher in ("peak", "likelihood", "spread")
    assert audit_often(plan, *given, 400).verdict is Verdict.WITHSTOOD


def test_many_runs_see_noise_of_half_its_size():
    plan = dataclasses.replace(PLAN, rate=1.0, noise_multiplier=2.0, steps=4)  # 1-GDP, which is tight here
    claim, curve = claimed(plan)
    right = audit_often(plan, claim, curve, 300)
    assert right.verdict is Verdict.WITHSTOOD
    assert 0 < right.gaussian_epsilon < claim.epsilon
    wrong = audit_often(dataclasses.replace(plan, noise_multiplier=1.0), claim, curve, 300)
    assert wrong.verdict is Verdict.VIOLATED


clipped, add = linear.clipped_sum, linear.add_noise
