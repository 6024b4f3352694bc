"""STRIP: a trigger's answer survives overlays, a clean input's does not."""

import pytest
import torch
from torch import nn

import backdoored
from redoubt.data import Dataset
from redoubt.detectors import Seen, Strip, build_detectors
from redoubt.detectors.conformance import CLASSES, COUNT, SHAPE, DetectorConformance
from redoubt.models import Face, TorchModel
from redoubt.records import Guard, PolicyError
from redoubt.records.guard import Strip as Settings

FACE = Face(SHAPE, 0.0, 1.0, CLASSES)


def linear() -> TorchModel:
    torch.manual_seed(0)
    return TorchModel(nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES)), FACE)


def pool() -> Dataset:
    return Dataset(torch.rand(40, *SHAPE), torch.arange(40) % CLASSES, "here", "sha256:0")


class TestStrip(DetectorConformance):
    def make(self):
        torch.manual_seed(3)
        return Strip(Settings(overlays=5), linear(), pool())

    def seen(self):
        x = torch.rand(COUNT, *SHAPE, generator=torch.Generator().manual_seed(1))
        return Seen(x, linear().query(x).scores)


def entropies(model, x):
    return Strip(Settings(overlays=12), model, backdoored.train()).look(Seen(x, model.query(x).scores))[
        "overlay_entropy"
    ]


def test_stamped_inputs_are_certain_under_overlays():
    held, model = backdoored.held_out(), backdoored.planted()
    x = held.x[held.y != 2][:60]
    clean, stamped = entropies(model, x), entropies(model, backdoored.PATCH.stamp(x))
    assert float((stamped < clean.quantile(0.05)).double().mean()) > 0.8
    # On a model without a backdoor the same stamp says nothing.
    twin = backdoored.clean()
    assert float((entropies(twin, backdoored.PATCH.stamp(x)) < entropies(twin, x).quantile(0.05)).double().mean()) < 0.3


def test_the_pool_takes_classes_in_turn():
    few = Dataset(torch.arange(40.0).view(40, 1, 1, 1) / 40, (torch.arange(40) >= 36).long(), "here", "")
    strip = Strip(Settings(overlays=8), backdoored.clean(), few)
    assert int((strip._pool.flatten() >= 36 / 40).sum()) == 4


def test_a_rule_over_it_needs_training_data():
    guard = Guard.model_validate(
        {
            "identify": {"keys": "k.db"},
            "tiers": {"public": {}},
            "admit": [{"name": "sure", "rule": "signals.overlay_entropy > 0.1"}],
            "record": {"log": "audit/"},
        }
    )
    with pytest.raises(PolicyError, match=r"signals\.overlay_entropy, which needs training data"):
        build_detectors(guard, linear(), None, None, {"overlay_entropy"})
    (only,) = build_detectors(guard, linear(), None, pool(), {"overlay_entropy"})
    assert isinstance(only, Strip)
