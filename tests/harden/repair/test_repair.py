"""Each repair takes the backdoor out and leaves the rest; none changes the module that it is given."""

import copy

import pytest
import torch

import backdoored
from redoubt.attacks.backdoor import Course, Laid, Square, channel_activity
from redoubt.harden.repair import (
    accuracy,
    adversarial_prune,
    common_pattern,
    fine_prune,
    halves,
    retrain,
    set_aside,
    silence,
    treated,
    unlearn,
)
from redoubt.models import TorchModel

CLEAN = backdoored.images(400, 5)
SHORT = Course(epochs=6, batch=32, rate=2e-3)


@pytest.fixture(autouse=True)
def _nothing_is_changed_in_place():
    module = backdoored.planted().module
    before = copy.deepcopy(module.state_dict())
    yield
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def judged(module):
    return backdoored.success(TorchModel(module, backdoored.FACE))


def test_the_backdoor_is_there_to_begin_with():
    assert judged(backdoored.planted().module)[1] > 0.95


def test_silenced_channels_are_never_heard_and_others_as_before():
    module = copy.deepcopy(backdoored.planted().module)
    before = channel_activity(module, "2", CLEAN.x)
    silence(module, "2", torch.tensor([1, 5]))
    after = channel_activity(module, "2", CLEAN.x)
    assert after[[1, 5]].tolist() == [0, 0]
    others = [at for at in range(16) if at not in (1, 5)]
    assert torch.equal(after[others], before[others])
    with pytest.raises(ValueError, match="no convolution"):
        silence(module, "1", torch.tensor([0]))


def test_pruning_stops_where_accuracy_would_fall():
    module = backdoored.planted().module
    pruned = fine_prune(module, "2", CLEAN, loss=0.02, course=None)
    assert pruned.after >= pruned.before - 0.02
    assert 0 < len(pruned.off) < 16
    # From the least active on, and one more would have cost too much.
    order = channel_activity(module, "2", halves(CLEAN, 0)[0].x).argsort()
    assert torch.equal(pruned.off, order[: len(pruned.off)])
    more = copy.deepcopy(pruned.module)
    silence(more, "2", order[len(pruned.off)][None])
    assert len(pruned.off) == 15 or accuracy(more, halves(CLEAN, 0)[1]) < pruned.before - 0.02


def test_fine_tuning_leaves_pruned_channels_silent():
    pruned = fine_prune(backdoored.planted().module, "2", CLEAN, course=SHORT)
    assert (channel_activity(pruned.module, "2", CLEAN.x)[pruned.off] == 0).all()
    assert pruned.after > 0.9


def test_unlearning_the_trigger_takes_the_backdoor_out():
    repaired = unlearn(backdoored.planted().module, [backdoored.PATCH], CLEAN, course=SHORT)
    clean, success = judged(repaired.module)
    assert success < 0.05
    assert clean > judged(backdoored.planted().module)[0] - 0.02
    # Another trigger does not do it: the repair is no mere fine-tuning.
    other = unlearn(backdoored.planted().module, [Square(2, 0, 0)], CLEAN, course=SHORT)
    assert judged(other.module)[1] > success + 0.2
    with pytest.raises(ValueError, match="no trigger"):
        unlearn(backdoored.planted().module, [], CLEAN)


def test_adversarial_pruning_weakens_the_backdoor_at_a_small_price():
    pruned = adversarial_prune(backdoored.planted().module, CLEAN, radius=1.0, share=0.5, steps=60, loss=0.05)
    assert len(pruned.off) > 0
    assert pruned.after >= pruned.before - 0.05
    assert judged(pruned.module)[1] < judged(backdoored.planted().module)[1] - 0.5


def test_what_inputs_set_aside_have_in_common_is_the_patch():
    held = backdoored.held_out()
    stamped = backdoored.PATCH.stamp(held.x[:40])
    mixed = torch.cat([stamped, held.x[40:48]])  # a few set aside by mistake
    found = common_pattern(mixed, CLEAN.x)
    assert isinstance(found, Laid)
    at = found.mask[0].nonzero()
    assert set(map(tuple, at.tolist())) == {(8, 8), (8, 9), (9, 8), (9, 9)}
    assert (found.pattern[0, 8:, 8:] > 0.95).all()
    assert common_pattern(held.x[:40], CLEAN.x) is None
    assert common_pattern(stamped[:5], CLEAN.x) is None


def test_quarantine_repairs_from_what_arrives():
    module, held = backdoored.planted().module, backdoored.held_out()
    arrived = held.x.clone()
    arrived[::4] = backdoored.PATCH.stamp(arrived[::4])
    other = treated(module, CLEAN, 0.3)
    aside = set_aside(module, other, arrived)
    assert float(aside[::4].float().mean()) > 5 * float(aside[1::4].float().mean())
    repaired = retrain(module, other, arrived, CLEAN)
    assert repaired is not None
    assert judged(repaired.module)[1] < 0.05
    assert retrain(module, module, arrived, CLEAN) is None  # nobody disagrees, so nothing is learnt
