"""The network of the bench: an ordinary PyTorch model and training loop, which know nothing of Redoubt."""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

_SHIFT = 2  # pixels: each batch is shifted by up to this much, the only augmentation


def build() -> nn.Module:
    """Images `[B, 1, 28, 28]` in 0..1 to logits `[B, 10]`."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def train(x: Tensor, y: Tensor, weights: Path, *, epochs: int, held_out: int, seed: int = 0) -> float:
    """Train with Adam and one cycle of the learning rate, and save the weights.

    Args:
        x: images `[N, 1, 28, 28]`.
        y: labels `[N]`.
        weights: the safetensors file to write.
        epochs: passes over the data.
        held_out: how many of the examples are kept out of training.
        seed: of initial weights, order and shifts.

    Returns:
        Accuracy on the examples held out.
    """
    torch.manual_seed(seed)
    model = build()
    order = torch.randperm(len(x))
    watched, rows = order[:held_out], order[held_out:]
    batches = -(-len(rows) // 128)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=batches * epochs)
    for _ in range(epochs):
        for batch in rows[torch.randperm(len(rows))].split(128):
            shift = torch.randint(-_SHIFT, _SHIFT + 1, (2,)).tolist()
            loss = F.cross_entropy(model(torch.roll(x[batch], shift, dims=(2, 3))), y[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    save_file(model.state_dict(), weights)
    with torch.no_grad():
        return float((model(x[watched]).argmax(dim=1) == y[watched]).float().mean())
