"""Model inversion on digits: what another classifier, which was not attacked, makes of the representatives."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from redoubt.attacks.memorisation import Components, Inversion
from redoubt.games.memorisation import recognised
from redoubt.models import Face, TorchModel
from redoubt.records import DataError

CLASSES = torch.arange(10)


@pytest.fixture(scope="module")
def ground():
    """Two readers of different build, trained on different halves; and images of the digits 0 to 4 that are public."""
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(y)
    readers = []
    for seed, rows, hidden in ((0, slice(0, 800), 64), (1, slice(800, 1600), 24)):
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
        optimizer = torch.optim.Adam(module.parameters(), 1e-2, weight_decay=1e-4)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x[rows]), y[rows]).backward()
            optimizer.step()
        readers.append(TorchModel(module, Face((1, 8, 8), 0.0, 1.0, 10)))
    return *readers, x[1600:][y[1600:] < 5]


def test_representatives_fool_the_model_that_was_attacked(ground):
    model, _, _ = ground
    found = Inversion().run(model, CLASSES)
    assert found.shape == (10, 1, 8, 8)
    assert ((found >= 0) & (found <= 1)).all()
    assert torch.equal(model.query(found).labels, CLASSES)


def test_a_prior_helps_another_classifier_to_recognise_them(ground):
    model, judge, public = ground
    components = Inversion().run(model, CLASSES, Components.of(public))
    assert recognised(judge, components, CLASSES).successes >= 6
    swapped = recognised(judge, components, CLASSES.flip(0))
    assert swapped.successes <= 3


def test_smoothness_is_paid_for(ground):
    model, _, _ = ground
    rough, smooth = (Inversion(smooth=weight).run(model, CLASSES) for weight in (0.0, 0.05))

    def variation(x):
        return float((x[..., 1:, :] - x[..., :-1, :]).abs().sum() + (x[..., 1:] - x[..., :-1]).abs().sum())

    assert variation(smooth) < 0.8 * variation(rough)


def test_components_are_those_of_the_inputs():
    flat = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 1.0, 0.0]) + 5
    found = Components.of(flat)
    assert found.spread.tolist() == pytest.approx([3, 1], rel=0.15)
    assert found.directions[0].abs().tolist() == pytest.approx([1, 0, 0], abs=0.1)
    with pytest.raises(DataError, match="no components"):
        Components.of(flat[:1])
