"""What float32 may be off by, against what it is off by."""

import pytest
import torch
from torch import nn

from redoubt.bounds import Region, from_torch, misclassified, prove, single_error
from small_networks import NETS, mlp


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("gain", [1.0, 1000.0])
def test_float32_is_never_off_by_more(name, gain):
    net, shape = NETS[name]
    graph = from_torch(net, shape).frozen()
    rng = torch.Generator().manual_seed(0)
    x = (torch.rand(500, graph.size, generator=rng) - 0.5) * gain
    error = single_error(graph, x.double().amin(dim=0)[None], x.double().amax(dim=0)[None])
    with torch.no_grad():
        computed = torch.cat([net(part.reshape(-1, *shape)) for part in x.split([1, 99, 400])])
    off = (computed.double() - graph(x.double())).abs()
    assert bool((off <= error).all())
    assert float(off.max()) > 0
    assert float(error.max()) < 1e4 * float(off.max())


def test_too_large_for_float32_is_said():
    net = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    with torch.no_grad():
        for layer in net:
            layer.weight.fill_(1e30)
    graph = from_torch(net, (1,)).frozen()
    one = torch.ones(1, 1, dtype=torch.float64)
    assert single_error(graph, -one, one).isinf().all()


def test_a_label_that_stands_by_less_than_rounding_is_not_proved():
    """Two scores that differ by 1e-9: float32 cannot tell them apart."""
    net = mlp(3, 4, 2)
    with torch.no_grad():
        net[2].weight[1] = net[2].weight[0]
        net[2].bias[:] = torch.tensor([1.0, 1.0 - 2**-24])
    graph = from_torch(net, (3,)).frozen()
    x = torch.rand(1, 3).double()
    region = Region(x - 0.1, x + 0.1)
    assert prove(graph, misclassified(region, 0, 2)).answer == "proved"
    error = single_error(graph, region.lower, region.upper)
    assert prove(graph, misclassified(region, 0, 2, error)).answer != "proved"
