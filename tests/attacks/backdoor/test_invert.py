"""Inversion finds planted triggers, of each family, and its sizes tell the planted class from the others."""

import math

import pytest
import torch
from torch import Generator

import backdoored
from redoubt.attacks.backdoor import Added, Bent, Laid
from redoubt.attacks.backdoor.invert import FORMS, Masked, Pixels, Search, Window, anomaly_indices, invert

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


def test_a_window_stays_in_its_square():
    form = Window(3, rows=(0, 7), columns=(2, 7))
    x = backdoored.held_out().x[:4]
    worn = form.worn(backdoored.FACE, x, form.start(backdoored.FACE, 2, Generator().manual_seed(0)))
    moved = (worn != x).any(dim=1)[:, 0]
    assert moved[0, 0:3, 2:5].any()
    assert moved[1, 7:10, 7:10].any()
    moved[0, 0:3, 2:5] = False
    moved[1, 7:10, 7:10] = False
    assert not moved.any()


def test_a_search_without_success_has_no_size_but_keeps_what_came_nearest():
    pixel, rng = Window(1, (0,) * 6, (0,) * 6), Generator().manual_seed(0)
    found = invert(backdoored.clean(), backdoored.train().x, pixel, range(6), Search(steps=5), rng)
    assert all(each.size == math.inf for each in found)
    assert all(0 <= each.success < 0.95 for each in found)


def test_anomaly_indices_by_hand():
    # median 5, deviations 4 0 1 1 3 -> median deviation 1
    found = anomaly_indices([1.0, 5.0, 6.0, 4.0, 8.0])
    assert found == pytest.approx([4 / 1.4826, 0, -1 / 1.4826, 1 / 1.4826, -3 / 1.4826])
    assert anomaly_indices([math.inf] * 4) == [0.0] * 4
    assert anomaly_indices([2.0] * 4) == [0.0] * 4
    # A class that nothing leads to counts as the largest that was found.
    assert anomaly_indices([1.0, 5.0, 6.0, 4.0, math.inf]) == anomaly_indices([1.0, 5.0, 6.0, 4.0, 6.0])
