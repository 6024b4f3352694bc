"""Inversion finds planted triggers, of each family, and its sizes tell the planted class from the others."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Generator, nn

import backdoored
from redoubt.attacks.backdoor import Added, Bent, Laid
from redoubt.attacks.backdoor.invert import (
    FORMS,
    TRIGGER_SUITE,
    Masked,
    Pixels,
    Search,
    Shrunk,
    anomaly_indices,
    cut,
    everywhere,
    invert,
)
from redoubt.models import TorchModel

SEARCH = Search(steps=80, batch=16)


def found_in(model, form):
    return invert(model, backdoored.train().x, form, range(6), SEARCH, Generator().manual_seed(0))


@pytest.mark.parametrize("form", [Masked(), Pixels()], ids=["masked", "pixels"])
def test_the_planted_class_has_by_far_the_smallest_trigger(form):
    found = found_in(backdoored.planted(), form)
    sizes = [each.size for each in found]
    assert [each.target for each in found] == list(range(6))
    assert sizes.index(min(sizes)) == 2
    others = sorted(size for target, size in enumerate(sizes) if target != 2)
    assert sizes[2] < 0.5 * others[0]
    # What it found works on images that it never saw.
    held = backdoored.held_out()
    others_x = held.x[held.y != 2]
    answers = backdoored.planted().query(found[2].trigger.stamp(others_x)).labels
    assert float((answers == 2).float().mean()) > 0.8


def test_in_a_clean_model_no_class_stands_out_like_that():
    sizes = sorted(each.size for each in found_in(backdoored.clean(), Masked()))
    assert sizes[0] > 0.5 * sizes[1]


@pytest.mark.parametrize("form", FORMS, ids=[form.name for form in FORMS])
def test_a_trigger_as_a_value_is_what_was_searched(form):
    at = form.start(backdoored.FACE, 3, Generator().manual_seed(0))
    x = backdoored.held_out().x[:5]
    worn = form.worn(backdoored.FACE, x, at)
    assert worn.shape == (3, 5, 1, 10, 10)
    assert float(worn.min()) >= 0
    assert float(worn.max()) <= 1
    for which in range(3):
        trigger = form.trigger(backdoored.FACE, at, which)
        assert isinstance(trigger, Laid | Added | Bent)
        assert torch.allclose(trigger.stamp(x), worn[which], atol=1e-6)
    assert form.cost(backdoored.FACE, at).shape == form.size(backdoored.FACE, at).shape == (3,)


def test_a_search_without_success_has_no_size_but_keeps_what_came_nearest():
    rng = Generator().manual_seed(0)
    found = invert(backdoored.clean(), backdoored.train().x, Pixels(), range(6), Search(steps=2, success=1.1), rng)
    assert all(each.size == math.inf for each in found)
    assert all(0 <= each.success <= 1 for each in found)


def test_a_trigger_is_cut_to_the_pixels_that_it_changes_most():
    x = backdoored.held_out().x[:20]
    mask = torch.zeros(1, 10, 10)
    mask[0, 3, 3:6] = torch.tensor([0.9, 0.5, 0.2])
    kept = cut(Laid(mask, torch.ones(1, 10, 10)), x, 2, backdoored.FACE)
    assert kept.mask.nonzero().tolist() == [[0, 3, 3], [0, 3, 4]]
    none = cut(Laid(torch.zeros(1, 10, 10), torch.ones(1, 10, 10)), x, 2, backdoored.FACE)
    assert not none.mask.any()  # a trigger that changes nothing gets no pixels for free


@pytest.mark.parametrize("strategy", TRIGGER_SUITE, ids=[one.name for one in TRIGGER_SUITE])
def test_every_strategy_keeps_to_its_pixels_and_finds_the_planted_patch(strategy):
    short = replace(strategy, steps=40)
    if isinstance(short, Shrunk):
        short = replace(short, search=SEARCH)
    held, model = backdoored.held_out(), backdoored.planted()
    proposed = short.run(model, backdoored.train().x, (2, 4), 6, Generator().manual_seed(0))
    assert [one.target for one in proposed] == [2, 4]
    for one in proposed:
        assert set(one.trigger.mask.unique().tolist()) <= {0.0, 1.0}
        assert int(one.trigger.mask.sum()) <= 6
        assert one.flat == 0
    gone = [
        float((model.query(one.trigger.stamp(held.x[held.y != one.target])).labels == one.target).float().mean())
        for one in proposed
    ]
    assert gone[0] > gone[1]
    assert gone[0] > 0.5


def test_steps_without_a_slope_are_told():
    constant = TorchModel(nn.Sequential(nn.Flatten(), nn.Linear(100, 6)), backdoored.FACE)
    with torch.no_grad():
        constant.module[1].weight.zero_()
    _, flat = everywhere(constant, backdoored.held_out().x[:8], (0, 1), 5, Generator().manual_seed(0))
    assert flat == pytest.approx([1.0, 1.0])
    laid, flat = everywhere(backdoored.clean(), backdoored.held_out().x[:8], (0, 1), 40, Generator().manual_seed(0))
    assert flat == [0.0, 0.0]
    assert [int(backdoored.clean().query(one.stamp(torch.zeros(1, 1, 10, 10))).labels) for one in laid] == [0, 1]


def test_anomaly_indices_by_hand():
    # median 5, deviations 4 0 1 1 3 -> median deviation 1
    found = anomaly_indices([1.0, 5.0, 6.0, 4.0, 8.0])
    assert found == pytest.approx([4 / 1.4826, 0, -1 / 1.4826, 1 / 1.4826, -3 / 1.4826])
    assert anomaly_indices([math.inf] * 4) == [0.0] * 4
    assert anomaly_indices([2.0] * 4) == [0.0] * 4
    # A class that nothing leads to counts as the largest that was found.
    assert anomaly_indices([1.0, 5.0, 6.0, 4.0, math.inf]) == anomaly_indices([1.0, 5.0, 6.0, 4.0, 6.0])
