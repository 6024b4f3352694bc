"""The network of the Adult bench: ordinary PyTorch, which knows nothing of Redoubt."""

from torch import nn

WIDTH = 91  # columns of an encoded row: 5 numbers, and the values of seven categories


def build() -> nn.Module:
    """Rows `[B, 91]` in 0..1 to logits `[B, 2]`."""
    return nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
