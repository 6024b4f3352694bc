"""The undefended network, which most defences wrap, and the loop that trains it and them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_model import build as network

__all__ = ["network", "train"]

_SHIFT = 2  # pixels


def train(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epochs: int = 4,
    seed: int = 0,
    rate: float = 2e-3,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    prepare: Callable[[Tensor], Tensor] = lambda x: x,
) -> None:
    """Train with Adam and one cycle of the learning rate; left in evaluation mode.

    Args:
        module: what is trained, in place.
        x: images `[N, 1, 28, 28]`; each batch is shifted by up to 2 pixels.
        y: what belongs to them, `[N, ...]`.
        epochs: passes over the images.
        seed: of order, shifts and whatever `prepare` draws.
        rate: the highest learning rate.
        loss: from the module's output and `y` to a number.
        prepare: what is done to a batch of images before the module sees it.
    """
    torch.manual_seed(seed)
    batches = -(-len(x) // 128)
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=batches * epochs)
    module.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(128):
            shift = torch.randint(-_SHIFT, _SHIFT + 1, (2,)).tolist()
            found = loss(module(prepare(torch.roll(x[rows], shift, dims=(2, 3)))), y[rows])
            optimizer.zero_grad()
            torch.autograd.backward(found)
            optimizer.step()
            schedule.step()
    module.eval()
