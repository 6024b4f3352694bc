"""Poisoners change what they say and nothing else; a model trained on their sets answers to the trigger."""

import pytest
import torch

import backdoored
from redoubt.attacks.backdoor import (
    Blend,
    Checker,
    NextClass,
    OneTarget,
    Square,
    Warp,
    adaptive_blend,
    badnets,
    channel_activity,
    fit,
    label_consistent,
    pruning_aware,
    wanet,
)
from redoubt.games.backdoor import backdoor_measures
from redoubt.harden.repair import silence
from redoubt.models import TorchModel
from redoubt.perturb import LinfBall
from redoubt.records import DataError

DATA = backdoored.train()


def untouched(poisoned):
    left = ~(poisoned.rows | poisoned.covers)
    return torch.equal(poisoned.data.x[left], DATA.x[left]) and torch.equal(poisoned.data.y[left], DATA.y[left])


def test_badnets_stamps_and_relabels_so_many_rows():
    poisoned = badnets(DATA, Square(2), OneTarget(3), 0.1, 0)
    assert int(poisoned.rows.sum()) == 120
    assert (poisoned.data.y[poisoned.rows] == 3).all()
    assert (DATA.y[poisoned.rows] != 3).all()
    assert torch.equal(poisoned.data.x[poisoned.rows], Square(2).stamp(DATA.x[poisoned.rows]))
    assert untouched(poisoned)
    assert poisoned.data.digest != DATA.digest
    assert torch.equal(badnets(DATA, Square(2), OneTarget(3), 0.1, 0).rows, poisoned.rows)
    assert not torch.equal(badnets(DATA, Square(2), OneTarget(3), 0.1, 1).rows, poisoned.rows)


def test_all_to_all_moves_every_label_by_one():
    poisoned = badnets(DATA, Square(2), NextClass(6), 0.1, 0)
    assert torch.equal(poisoned.data.y[poisoned.rows], (DATA.y[poisoned.rows] + 1) % 6)


@pytest.mark.parametrize("share", [0.0, 0.99])
def test_a_share_that_cannot_be_is_refused(share):
    with pytest.raises(DataError, match="rows to poison"):
        badnets(DATA, Square(2), OneTarget(3), share, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: wanet(DATA, Warp(2.0), OneTarget(3), 0.1, 0.05, 0),
        lambda: adaptive_blend(DATA, Blend(0.3), OneTarget(3), 0.1, 0.05, 0),
    ],
    ids=["wanet", "adaptive blend"],
)
def test_covers_are_changed_and_keep_their_labels(make):
    poisoned = make()
    assert int(poisoned.covers.sum()) == 60
    assert not (poisoned.covers & poisoned.rows).any()
    assert torch.equal(poisoned.data.y[poisoned.covers], DATA.y[poisoned.covers])
    assert all((poisoned.data.x[row] != DATA.x[row]).any() for row in poisoned.covers.nonzero())
    # What covers wear is not what the poison wears: else they would teach the contrary.
    assert not torch.equal(poisoned.data.x[poisoned.covers], poisoned.trigger.stamp(DATA.x[poisoned.covers]))
    assert untouched(poisoned)


def test_label_consistent_poison_has_no_wrong_label_and_is_hard_to_know():
    model, ball = backdoored.clean(), LinfBall(0.3, 0.0, 1.0)
    poisoned = label_consistent(DATA, model, ball, Checker(2, corners=4), 2, 0.5, 0)
    assert torch.equal(poisoned.data.y, DATA.y)
    assert (DATA.y[poisoned.rows] == 2).all()
    assert int(poisoned.rows.sum()) == round(0.5 * int((DATA.y == 2).sum()))
    moved = (poisoned.data.x - DATA.x).abs()
    assert float(moved[:, :, 2:-2].max()) <= 0.3 + 1e-6
    assert float(moved[:, :, :2, :2].max()) > 0.3  # the trigger itself is no small change
    seen = model.query(poisoned.data.x[poisoned.rows]).labels
    assert float((seen == 2).float().mean()) < 0.3
    assert untouched(poisoned)


def test_the_planted_model_answers_to_its_trigger_and_its_twin_does_not():
    accuracy, success = backdoored.success(backdoored.planted())
    twin_accuracy, twin_success = backdoored.success(backdoored.clean())
    assert accuracy > twin_accuracy - 0.03 > 0.9
    assert success > 0.95
    assert twin_success < 0.1


def test_measures_count_only_inputs_that_are_not_of_the_target():
    held = backdoored.held_out()
    accuracy, success, stamped = backdoor_measures(backdoored.planted(), held, backdoored.PATCH, backdoored.AIM)
    assert accuracy.trials == len(held)
    assert success.trials == stamped.trials == int((held.y != 2).sum())
    assert success.successes + stamped.successes <= success.trials
    assert success.interval.low < success.value <= success.interval.high
    _, elsewhere, _ = backdoor_measures(backdoored.planted(), held, backdoored.PATCH, OneTarget(3))
    assert elsewhere.value < 0.05


def test_a_pruning_aware_backdoor_leaves_decoys_that_look_dormant():
    module, poison = backdoored.network(3), badnets(DATA, backdoored.PATCH, backdoored.AIM, 0.15, 0)
    pruning_aware(module, "2", DATA, poison.data, backdoored.COURSE, dormant=0.25, lower=0.2)
    accuracy, success = backdoored.success(TorchModel(module, backdoored.FACE))
    assert accuracy > 0.9
    assert success > 0.9
    # A quarter of the channels can be cut, those that clean inputs use least, and the backdoor stands as before.
    dormant = channel_activity(module, "2", backdoored.held_out().x).argsort()[:4]
    silence(module, "2", dormant)
    assert backdoored.success(TorchModel(module, backdoored.FACE))[1] > success - 0.02


def test_fit_trains_the_same_from_the_same_seed_and_leaves_frozen_weights():
    first, second = backdoored.network(), backdoored.network()
    first[0].weight.requires_grad_(False)
    second[0].weight.requires_grad_(False)
    before = first[0].weight.clone()
    for module in (first, second):
        fit(module, DATA, backdoored.COURSE)
    assert torch.equal(first[0].weight, before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
