"""Exponential moving average of the weights (Izmailov et al. 2018; for adversarial training Gowal et al. 2020)."""

import torch
from torch import nn


@torch.no_grad()
def follow(averaged: nn.Module, module: nn.Module, decay: float, steps: int) -> None:
    """Move `averaged` towards `module`, in place.

    The decay grows towards its full value as (1 + steps) / (10 + steps), or the first random weights would weigh for
    long.  Buffers (running means of batch normalisation) are averaged too where they are floats, else copied.

    Args:
        averaged: the average, of the same architecture.
        module: the weights that are trained.
        decay: share of the average that stays at each step.
        steps: how many there have been, from 1.
    """
    keep = min(decay, (1 + steps) / (10 + steps))
    for old, new in zip(averaged.state_dict().values(), module.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - keep)
        else:
            old.copy_(new)
