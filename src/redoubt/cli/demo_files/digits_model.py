"""A small reader of handwritten digits: 8x8 pixels, from scikit-learn's bundled set.

Nothing in this file knows of Redoubt: it is an ordinary PyTorch model with an ordinary training loop.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn


def build() -> nn.Module:
    """The network, untrained: images `[B, 1, 8, 8]` in 0..1 to logits `[B, 10]`."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def train(x: Tensor, y: Tensor, weights: Path, epochs: int = 30) -> None:
    """Train on images `[N, 1, 8, 8]` with labels `[N]`, and save the weights."""
    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x), 64):
            rows = order[start : start + 64]
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(model(x[rows]), y[rows]))
            optimizer.step()
    save_file(model.state_dict(), weights)
