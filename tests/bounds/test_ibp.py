"""Training by interval bounds: the loss bounds every point's, and training raises what is certified."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from redoubt.bounds import ibp_loss, ibp_weights, radius_at, worst_logits
from small_networks import NETS, mlp


def test_the_loss_is_an_upper_bound_of_every_points_loss():
    net = mlp(4, 8, 3)
    x, y = torch.rand(6, 4), torch.arange(6) % 3
    bound = float(ibp_loss(net, x, y, 0.2, low=0.0, high=1.0).detach())
    for _ in range(200):
        point = (x + 0.2 * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
        assert float(F.cross_entropy(net(point), y).detach()) <= bound + 1e-6
    none = float(ibp_loss(net, x, y, 0.0, low=0.0, high=1.0).detach())
    assert none == pytest.approx(float(F.cross_entropy(net(x), y).detach()), 1e-5)


def test_worst_logits_say_no_more_than_intervals_do():
    net, shape = NETS["residual"]
    x, y = torch.rand(5, *shape), torch.arange(5) % 3
    worst = worst_logits(net, x - 0.05, x + 0.05, y)
    logits = net(x)
    true = F.one_hot(y, 3).bool()
    assert bool((worst[true] <= logits[true]).all())
    assert bool((worst[~true] >= logits[~true]).all())


def test_training_raises_what_is_certified():
    torch.manual_seed(0)
    y = torch.arange(300) % 3
    x = (torch.rand(300, 6) * 0.4 + F.one_hot(y, 6) * 0.6).clamp(0, 1)
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    ibp_weights(net, (6,))

    def certified():
        return float((worst_logits(net, x - 0.1, x + 0.1, y).argmax(dim=1) == y).float().mean())

    before = certified()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for step in range(80):
        share = radius_at(step / 80, 0.1, 0.6)
        optimizer.zero_grad()
        ibp_loss(net, x, y, 0.1 * share, low=0.0, high=1.0, regularise=0.5 * (1 - share), clean_share=0.1).backward()
        optimizer.step()
    assert certified() > max(0.9, before)


def test_the_radius_grows_from_nothing_to_all():
    shares = [radius_at(at / 100, 0.1, 0.5) for at in range(101)]
    assert shares[0] == shares[10] == 0.0
    assert shares[50] == shares[100] == 1.0
    assert all(a <= b for a, b in pairwise(shares))
