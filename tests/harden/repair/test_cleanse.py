"""Repeated unlearning takes the backdoor out, keeps what else the model knew, and says what it cost."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Generator

import backdoored
from redoubt.attacks.backdoor import Square
from redoubt.attacks.backdoor.invert import FORMS, Search
from redoubt.data import Dataset
from redoubt.detectors import most_reached
from redoubt.harden.repair import Lesson, Plan, cleanse, forget
from redoubt.harden.repair.cleanse import surely_lost
from redoubt.models import TorchModel

CLEAN, HELD = backdoored.images(300, 5), backdoored.images(200, 6)
PLAN = Plan(search=Search(steps=60, batch=16), forms=FORMS[:2], rounds=4, lesson=Lesson(steps=100, shift=0))


@pytest.fixture(autouse=True)
def _nothing_is_changed_in_place():
    module = backdoored.planted().module
    before = copy.deepcopy(module.state_dict())
    yield
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


@pytest.fixture(scope="module")
def done():
    told = []
    found = cleanse(
        backdoored.planted(), CLEAN, HELD, range(6), PLAN, heard=lambda what, at, of: told.append((what, at, of))
    )
    return found, told


def test_the_planted_class_is_suspected_and_the_backdoor_goes(done):
    found, _ = done
    assert found.suspect == 2
    clean, success = backdoored.success(found.model)
    assert success < 0.05
    assert clean > backdoored.success(backdoored.planted())[0] - 0.02


def test_the_class_is_far_harder_to_reach_afterwards(done):
    was, now = done[0].hardness
    assert was < 0.7
    assert now > 1
    assert done[0].rounds[0].hardness < done[0].rounds[-1].hardness or len(done[0].rounds) == 1


def test_progress_counts_up_and_ends_at_the_end(done):
    steps = [(at, of) for _, at, of in done[1]]
    assert [at for at, _ in steps] == sorted({at for at, _ in steps})
    assert steps[-1][0] == steps[-1][1] == 2 * len(PLAN.forms) + PLAN.rounds


def test_the_same_seed_makes_the_same_model(done):
    again = cleanse(backdoored.planted(), CLEAN, HELD, range(6), PLAN)
    assert again.model.digest() == done[0].model.digest()


def test_a_round_that_costs_too_much_is_undone():
    wrecking = replace(PLAN, lesson=Lesson(steps=60, rate=0.3, hold=0.0, shift=0), rounds=2)
    found = cleanse(backdoored.planted(), CLEAN, HELD, range(6), wrecking)
    assert not found.rounds[-1].kept
    assert found.rounds[-1].accuracy < found.accuracy[0] - wrecking.price
    assert found.accuracy[1] >= found.accuracy[0] - wrecking.price
    if len(found.rounds) == 1:
        state = backdoored.planted().module.state_dict()
        assert all(torch.equal(state[name], value) for name, value in found.model.module.state_dict().items())


def test_a_class_that_is_hard_to_reach_already_is_left_alone():
    easy = replace(PLAN, margin=1e-6)
    found = cleanse(backdoored.planted(), CLEAN, HELD, range(6), easy, suspect=4)
    assert found.suspect == 4
    assert found.rounds == ()
    assert found.before == found.after


def test_forgetting_one_trigger_leaves_another():
    suspect = backdoored.planted()
    model = copy.deepcopy(suspect)
    forget(model, suspect, [Square(2, 0, 0)], CLEAN, PLAN.lesson, Generator().manual_seed(0))
    assert backdoored.success(model)[1] > 0.5
    forget(model, suspect, [backdoored.PATCH], CLEAN, PLAN.lesson, Generator().manual_seed(0))
    assert backdoored.success(model)[1] < 0.05


def test_the_suspects_answers_hold_the_rest_in_place():
    """With labels that are wrong half of the time, a model that is held forgets less of what it knew."""
    suspect, rng = backdoored.planted(), Generator().manual_seed(3)
    wrong = torch.rand(len(CLEAN), generator=rng) < 0.5
    noisy = Dataset(CLEAN.x, torch.where(wrong, (CLEAN.y + 1) % 6, CLEAN.y), "bars", "")
    kept = {}
    for hold in (0.0, 20.0):
        model = copy.deepcopy(suspect)
        lesson = replace(PLAN.lesson, hold=hold, worn=0.0)
        forget(model, suspect, [backdoored.PATCH], noisy, lesson, Generator().manual_seed(0))
        kept[hold] = backdoored.success(model)[0]
    assert kept[20.0] > kept[0.0] + 0.1


def test_what_held_out_examples_cannot_show_is_no_loss():
    before = torch.ones(100, dtype=torch.bool)
    after = before.clone()
    after[:4] = False
    assert surely_lost(before, after) < 0.01  # four of a hundred may be chance
    after[:30] = False
    assert 0.15 < surely_lost(before, after) < 0.3
    # As many won as lost is no loss, however many.
    half = torch.arange(100) % 2 == 0
    assert surely_lost(half, ~half) < 0


def test_of_many_classes_the_most_reached_ones_are_searched():
    model = TorchModel(backdoored.planted().module, backdoored.FACE)
    assert most_reached(model, CLEAN.x, 6, 0) == list(range(6))
    few = most_reached(model, CLEAN.x, 3, 0)
    assert len(set(few)) == 3
    assert 2 in few
