"""Patch certificates against patches that are tried."""

import pytest
import torch
from torch import nn

from redoubt.bounds import Ablated, ablate, ablated_loss, from_torch, patch_certified


def small_reader():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4 * 4, 3))


def worst_patch(net, x, label, size, tries=400):
    """Whether some random or extreme patch somewhere changes the label."""
    rng = torch.Generator().manual_seed(0)
    for top in range(x.shape[2] - size + 1):
        for left in range(x.shape[3] - size + 1):
            many = x.repeat(tries, 1, 1, 1)
            patch = torch.rand(tries, x.shape[1], size, size, generator=rng)
            patch[::2] = patch[::2].round()
            many[:, :, top : top + size, left : left + size] = patch
            if bool((net(many).argmax(dim=1) != label).any()):
                return True
    return False


def test_no_patch_changes_what_is_certified():
    net = small_reader()
    with torch.no_grad():
        net[3].bias[0] += 0.45
    x = torch.rand(12, 1, 6, 6)
    y = net(x).argmax(dim=1)
    graph = from_torch(net, (1, 6, 6))
    one, two = (patch_certified(graph, x, y, size, 0.0, 1.0) for size in (1, 2))
    broken = torch.tensor([worst_patch(net, x[row : row + 1], int(y[row]), 2) for row in range(len(x))])
    assert not bool((two & broken).any())
    assert bool((two <= one).all())
    assert bool(two.any())
    assert not bool(two.all())
    wrong = patch_certified(graph, x, (y + 1) % 3, 1, 0.0, 1.0)
    assert not bool(wrong.any())


def test_a_patch_that_does_not_fit_is_refused():
    graph = from_torch(small_reader(), (1, 6, 6))
    with pytest.raises(ValueError, match="a patch of 7 pixels"):
        patch_certified(graph, torch.rand(1, 1, 6, 6), torch.zeros(1).long(), 7, 0.0, 1.0)


class Bright(nn.Module):
    """Votes for 1 if the band shown is bright, for 0 if it is dark."""

    def forward(self, x):
        shown = (x.sum(dim=1, keepdim=True) > 0).float()
        mean = (x[:, :1] * shown).sum(dim=(1, 2, 3)) / shown.sum(dim=(1, 2, 3))
        return torch.stack([0.5 - mean, mean - 0.5], dim=1) * 100


@pytest.mark.parametrize("patch", [1, 2, 3, 4, 6])
def test_a_vote_is_certified_exactly_where_no_patch_of_columns_can_turn_it(patch):
    """With this base, a patch of the other colour takes every band it touches, so the certificate is nearly tight."""
    vote = Ablated(Bright(), width=1)
    images = torch.zeros(13, 1, 4, 12)
    for bright in range(13):
        images[bright, :, :, :bright] = 1.0
    found = vote.certify(images, patch)
    for bright in range(13):
        label = int(found.label[bright])
        assert label == int(bright > 6)
        turned = images[bright].clone()
        mine = range(bright) if label else range(bright, 12)
        for column in list(mine)[:patch]:
            turned[:, :, column] = 1.0 - label
        changed = int(vote.certify(turned[None], 1).label) != label
        assert bool(found.certified[bright]) is not changed or len(mine) < patch


def test_random_patches_do_not_change_a_certified_vote():
    torch.manual_seed(1)
    base = nn.Sequential(nn.Flatten(), nn.Linear(2 * 5 * 10, 3))
    with torch.no_grad():
        base[1].bias[0] += 0.25
    vote = Ablated(base, width=2, threshold=0.4)
    x = torch.rand(20, 1, 5, 10)
    found = vote.certify(x, 1)
    assert bool(found.certified.any())
    for _ in range(30):
        patched, column = x.clone(), int(torch.randint(10, ()))
        patched[:, :, :, column] = torch.rand(20, 1, 5).round()
        assert bool((vote.certify(patched, 1).label == found.label)[found.certified].all())


def test_a_band_shows_its_columns_and_nothing_else():
    x = torch.rand(1, 1, 2, 5)
    band = ablate(x, 4, 2)  # columns 4 and 0
    assert torch.equal(band[:, :1, :, [4, 0]], x[..., [4, 0]])
    assert torch.equal(band[:, 1:, :, [4, 0]], 1 - x[..., [4, 0]])
    assert not bool(band[..., 1:4].any())
    other = x.clone()
    other[..., 2] = 0.123
    assert torch.equal(ablate(other, 4, 2), band)


def test_training_on_bands_lowers_their_loss():
    torch.manual_seed(0)
    y = torch.arange(100) % 2
    x = (torch.rand(100, 1, 4, 6) * 0.5 + 0.5 * y.view(-1, 1, 1, 1)).clamp(0, 1)
    net, rng = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), torch.Generator().manual_seed(0)
    first = float(ablated_loss(net, x, y, 2, rng).detach())
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        ablated_loss(net, x, y, 2, rng).backward()
        optimizer.step()
    assert float(ablated_loss(net, x, y, 2, rng).detach()) < 0.6 * first
    assert Ablated(net, 2).certify(x, 1).accuracy(y) > 0.9
