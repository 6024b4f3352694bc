"""Adversarial weight perturbation (Wu et al. 2020, algorithm 1): the gradient is taken where the loss is worse."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def unmoved(module: nn.Module, share: float) -> list[Tensor]:
    """Move every weight tensor up its gradient by `share` of its own norm, and give back what the weights were.

    Biases and other vectors stay, as in the paper's code.  The gradients must be there; they are cleared.
    """
    before = []
    for weight in module.parameters():
        before.append(weight.detach().clone())
        slope = weight.grad
        weight.grad = None
        if slope is None or weight.dim() < 2:
            continue
        length = slope.norm()
        if length > 0:
            weight.add_(slope, alpha=float(share * weight.norm() / length))
    return before


@torch.no_grad()
def restored(module: nn.Module, before: list[Tensor]) -> None:
    """Put the weights back, bit for bit; their gradients stay."""
    for weight, value in zip(module.parameters(), before, strict=True):
        weight.copy_(value)
