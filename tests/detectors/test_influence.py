"""Influence in closed form: against autograd, against the fitted layer, and against planted wrong labels."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from redoubt.detectors.influence import LastLayer, Representers, tracin
from redoubt.models import Face, TorchModel
from redoubt.records import DataError, ModelError

FACE = Face((1, 8, 8), 0.0, 1.0, 10)


def network(*after):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), *after)


def data(count=400):
    x, y = load_digits(return_X_y=True)
    return torch.tensor(x[:count], dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(y[:count])


def trained(x, y, epochs=60):
    module = network()
    optimizer = torch.optim.Adam(module.parameters(), 3e-3, weight_decay=1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(module(x[rows]), y[rows]).backward()
            optimizer.step()
    return TorchModel(module.eval(), FACE)


def test_tracin_is_the_product_of_two_gradients():
    x, y = data(12)
    module = network()
    layer = LastLayer(TorchModel(module, FACE))
    features = layer.features(x)
    found = tracin(layer.logits(features), features, y, layer.logits(features[:1])[0], features[0], label=3)

    def gradient(row, label):
        loss = F.cross_entropy(module(x[row : row + 1]), torch.tensor([label]))
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(module[3].parameters()))])

    wanted = [float(gradient(row, int(y[row])) @ gradient(0, 3)) for row in range(12)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    module.requires_grad_(True)


def test_the_representer_values_add_up_to_the_logits_of_the_fitted_layer():
    x, y = data(200)
    layer = LastLayer(TorchModel(network(), FACE))
    features = layer.features(x)
    fitted = Representers(features[:150], y[:150], 10)
    for row in (160, 180):
        sums = torch.stack([fitted.influence(features[row], label).sum() for label in range(10)])
        assert torch.allclose(sums, fitted.logits(features[row]), atol=1e-5)
    worse = Representers(features[:150], (y[:150] + 1) % 10, 10)
    assert not torch.allclose(worse.logits(features[160]), fitted.logits(features[160]), atol=0.1)


@pytest.mark.parametrize("by", ["tracin", "representer"])
def test_planted_wrong_labels_are_found_behind_the_answers_that_they_spoil(by):
    """Copies of one digit with a wrong label teach the model that label; the trail of its answer leads to them."""
    x, y = data()
    victim = int((y == 4).nonzero()[0])
    generator = torch.Generator().manual_seed(1)
    planted = x[victim] + 0.05 * torch.rand(6, 1, 8, 8, generator=generator)
    first = len(x) - 1
    x = torch.cat([x[torch.arange(len(x)) != victim], planted.clamp(0, 1)])
    y = torch.cat([y[torch.arange(len(y)) != victim], torch.full((6,), 9)])
    victim_x = data()[0][victim : victim + 1]
    torch.manual_seed(2)
    model = trained(x, y)
    assert int(model.query(victim_x).labels) == 9
    layer = LastLayer(model)
    features, own = layer.features(x), layer.features(victim_x)[0]
    if by == "tracin":
        found = tracin(layer.logits(features), features, y, layer.logits(own[None])[0], own, 9)
    else:
        found = Representers(features, y, 10).influence(own, 9)
    top = found.argsort(descending=True)[:8].tolist()
    assert sum(row >= first for row in top) >= 5
    against = found.argsort()[:20]
    assert (y[against] == 9).sum() <= 2  # what speaks against the answer has other labels


def test_a_model_without_a_last_linear_layer_says_so():
    with pytest.raises(ModelError, match="changes what its last linear layer says"):
        LastLayer(TorchModel(network(nn.Tanh()), FACE))
    with pytest.raises(ModelError, match="does not end in a linear layer"):
        LastLayer(TorchModel(nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten()), FACE))
    softmax = TorchModel(network(nn.Softmax(dim=1)), FACE, outputs="probabilities")
    assert LastLayer(softmax).features(torch.rand(2, 1, 8, 8)).shape == (2, 33)


def test_too_many_features_are_refused():
    with pytest.raises(DataError, match="too many to fit"):
        Representers(torch.empty(1, dtype=torch.float64).expand(20_001, 10_000), torch.zeros(20_001).long(), 10)
