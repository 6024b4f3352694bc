import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "bench"))

from gallery.defence import Ground
from gallery.network import network, train


def bars(count, seed):
    """Images that are easily told apart: a bright bar whose row says the class, on noise."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 10
    x = 0.3 * torch.rand(count, 1, 28, 28, generator=rng)
    for row, label in enumerate(y.tolist()):
        x[row, 0, 4 + 2 * label : 6 + 2 * label, 4:24] += 0.5
    return x, y


@pytest.fixture(scope="session")
def ground():
    """A network that learnt the bars in a moment, and the images for those who build on it."""
    torch.manual_seed(0)
    plain = network()
    x, y = bars(1000, 0)
    train(plain, x, y, epochs=4)
    return Ground(plain.requires_grad_(False), x[:300], y[:300], *bars(200, 1))
