"""TRADES (Zhang et al. 2019, equation 5): right on clean inputs, and the same answer all over the set."""

import torch.nn.functional as F
from torch import Tensor

from redoubt.harden.inner import Objective


def drift(clean: Tensor) -> Objective:
    """The objective of the inner maximiser: how far the answers have moved from the clean ones.

    Args:
        clean: logits `[B, K]` of the clean inputs; no gradient flows into them.
    """
    reference = F.log_softmax(clean.detach(), dim=1)
    return lambda logits, rows: F.kl_div(
        F.log_softmax(logits, dim=1), reference[rows], reduction="none", log_target=True
    ).sum(dim=1)


def trades(clean: Tensor, worst: Tensor, y: Tensor, beta: float) -> Tensor:
    """The loss `[B]`: cross-entropy of the clean logits `[B, K]`, and `beta` times the divergence of the worst ones."""
    moved = F.kl_div(F.log_softmax(worst, dim=1), F.log_softmax(clean, dim=1), reduction="none", log_target=True)
    return F.cross_entropy(clean, y, reduction="none") + beta * moved.sum(dim=1)
