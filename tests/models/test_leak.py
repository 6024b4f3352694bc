"""Backward passes that see past rectified units that are off."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from redoubt.attacks.evasion import FMN, Cascade
from redoubt.games import play_round
from redoubt.models import Face, TorchModel
from redoubt.models.leak import Leak
from redoubt.models.meter import Metered
from redoubt.perturb import L2Ball
from redoubt.records import Access, Budget

WAYS = {
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, True),
    "method": lambda x: x.relu(),
    "method in place": lambda x: x.relu_(),
}


@pytest.mark.parametrize("way", WAYS)
def test_values_stay_and_slopes_leak(way: str) -> None:
    x = torch.tensor([[-2.0, 0.0, 3.0]], requires_grad=True)
    with Leak(0.25):
        out = WAYS[way](x * 2)
    (out * torch.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert out.tolist() == [[0.0, 0.0, 6.0]]
    assert x.grad is not None
    assert x.grad.tolist() == [[0.5, 5.0, 200.0]]


def test_in_place_means_in_place() -> None:
    x = torch.tensor([-1.0, 1.0], requires_grad=True) * 1
    with Leak(0.5):
        torch.relu_(x)
    assert x.tolist() == [0.0, 1.0]


class Threshold(nn.Module):
    """Answers 1 if any half of the image is bright; what is below 0.6 does not pass, so that its own slope is zero."""

    def forward(self, x: Tensor) -> Tensor:
        passed = torch.relu(x.flatten(1) - 0.6)
        return torch.stack([torch.full((len(x),), 0.5).to(x), passed.sum(dim=1)], dim=1)


@pytest.fixture
def threshold() -> TorchModel:
    return TorchModel(Threshold(), Face((1, 4, 4), 0.0, 1.0, 2))


def test_a_handle_leaks_and_its_kin_does_not(threshold: TorchModel) -> None:
    handle = Metered(threshold, Access.GRADIENTS, Budget(passes=4), 1)
    x = torch.full((1, 1, 4, 4), 0.3)

    def brighter(logits: Tensor) -> Tensor:
        return logits[:, 1]

    leaky, own = handle.leaking(0.1).slope(x, brighter), handle.slope(x, brighter)
    assert torch.allclose(leaky.gradient, torch.full_like(x, 0.1))
    assert not own.gradient.any()
    assert torch.equal(leaky.logits, own.logits)
    assert int(handle.meter.passes) == 4  # both on the same account
    assert int(handle.meter.vanished) == 1


@pytest.mark.parametrize("attack", [FMN(), Cascade(passes=200)], ids=lambda attack: attack.name)
def test_a_threshold_hides_nothing(attack: FMN | Cascade, threshold: TorchModel) -> None:
    x, y = torch.full((3, 1, 4, 4), 0.1), torch.zeros(3, dtype=torch.int64)
    within = L2Ball(2.6, 0.0, 1.0)  # all 16 pixels to 0.7 cost 2.4; by its own slope nothing pays before
    rng = torch.Generator().manual_seed(0)
    played = play_round(threshold, attack, x, y, within, Access.GRADIENTS, Budget(), rng)
    assert played.fooled.all()
