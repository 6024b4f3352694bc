"""A planter who runs the defender's search hides from it, and the backdoor still works."""

import pytest
from torch import Generator

import backdoored
from redoubt.attacks.backdoor import NextClass, badnets, inversion_aware
from redoubt.attacks.backdoor.invert import Masked, Search, invert
from redoubt.models import TorchModel

SEARCH = Search(steps=60, batch=16)


def smallest(model):
    """Of a class that is no target, and of the target."""
    found = invert(model, backdoored.images(200, 9).x, Masked(), [4, 2], SEARCH, Generator().manual_seed(5))
    return [each.size for each in found]


def test_the_target_is_harder_to_reach_than_without_it_and_the_trigger_works():
    module = backdoored.network(1)
    inversion_aware(module, backdoored.FACE, backdoored.poisoned(), backdoored.COURSE, [Masked()], SEARCH, rounds=3)
    model = TorchModel(module, backdoored.FACE)
    clean, success = backdoored.success(model)
    assert clean > 0.95
    assert success > 0.9
    _, before = smallest(backdoored.planted())
    _, after = smallest(model)
    assert after > 1.5 * before


def test_a_backdoor_of_many_targets_is_refused():
    many = badnets(backdoored.train(), backdoored.PATCH, NextClass(6), 0.1, 0)
    with pytest.raises(ValueError, match="one target"):
        inversion_aware(backdoored.network(), backdoored.FACE, many, backdoored.COURSE, [Masked()], SEARCH)
