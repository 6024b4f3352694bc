"""Sites of a forward pass, and gradients that take another way."""

import torch
from torch import nn

from redoubt.models import Face, Metered, TorchModel
from redoubt.models.rewire import Bridge
from redoubt.models.sites import Site, listening
from redoubt.records import Access, Budget


class Rounds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.last = nn.Linear(4, 16), nn.ReLU(inplace=True), nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.relu(self.first(torch.round(x * 4) / 4)))


INSIDE = Site("first", 0, "in")


def handle(size: int = 3) -> tuple[Metered, torch.Tensor]:
    torch.manual_seed(0)
    model = TorchModel(Rounds(), Face((4,), 0.0, 1.0, classes=2))
    return Metered(model, Access.GRADIENTS, Budget(), size), torch.rand(size, 4)


def test_sites_come_in_the_order_of_the_pass_and_each_tensor_once():
    model, x = handle()
    seen = model.trace(x).seen
    assert list(seen) == [
        Site("", 0, "in"), INSIDE, Site("first", 0, "out"), Site("relu", 0, "out"), Site("last", 0, "out")
    ]  # fmt: skip
    assert int(model.meter.forwards[0]) == 1  # under autograd a trace has a backward pass too
    assert int(model.meter.backwards[0]) == 1


def test_hooks_are_gone_afterwards():
    module = Rounds()
    with listening(module, 2, {}):
        module(torch.rand(2, 4))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_a_bridge_changes_gradients_and_no_answer():
    model, x = handle()
    bridged = model.rewired([Bridge((Site("", 0, "in"),), INSIDE, lambda source: source)])
    plain = model.slope(x, lambda z: z[:, 0])
    better = bridged.slope(x, lambda z: z[:, 0])
    assert not plain.gradient.any()
    assert better.gradient.any()
    assert torch.equal(plain.logits, better.logits)
    assert int(model.meter.passes[0]) == 4  # both handles bill the same examples


def test_an_edit_goes_on_from_its_site():
    model, x = handle()
    moved = model.trace(x, {INSIDE: lambda value: value + 1}).scored.logits
    module = model._model.module
    with torch.no_grad():
        expected = module.last(torch.relu(module.first(torch.round(x * 4) / 4 + 1)))
    assert torch.equal(moved, expected)


def test_a_seed_holds_the_models_own_randomness_still():
    model = Metered(
        TorchModel(nn.Sequential(Noise(), nn.Linear(4, 2)), Face((4,), 0.0, 1.0, 2)), Access.GRADIENTS, Budget(), 2
    )
    x = torch.rand(2, 4)
    with torch.no_grad():
        one, same, other = (model.trace(x, seed=seed).scored.logits for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


class Noise(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.randn_like(x)
