"""The gradient of a loss, also of one that has none."""

import torch
from torch import Tensor


def gradient_of(total: Tensor, leaf: Tensor, *, keep: bool = False) -> Tensor:
    """D total / d leaf, of leaf's shape; zero where the computation left autograd on its way.

    Args:
        total: a scalar.
        leaf: what it may depend on.
        keep: whether the graph is used again.
    """
    if not total.requires_grad:
        return torch.zeros_like(leaf)
    (gradient,) = torch.autograd.grad(total, leaf, allow_unused=True, retain_graph=keep)
    return torch.zeros_like(leaf) if gradient is None else gradient
