"""Gradients averaged over a model's randomness, or over a neighbourhood: how many samples it takes.

Expectation over transformation (Athalye et al. 2018), and the number of its samples from the variance of the gradient
itself rather than from a habit.
"""

import math

import torch
from torch import Tensor

_DRAWS = 8
_ALIKE = 0.6  # wanted cosine between the averaged gradient and the true mean
MOST = 20


def samples_for(draws: Tensor) -> int:
    """How many gradients to average, from a few draws `[N, B, ...]` at the same points, N >= 2.

    With |mean|^2 = s and noise of variance v in a draw, the mean of n draws has cosine sqrt(s / (s + v / n)) with the
    true mean.  Both are estimated without bias, so that pure noise gives s near 0 and `MOST`.

    >>> samples_for(torch.ones(8, 4, 5))
    1
    """
    flat = draws.flatten(2).double()
    count = len(flat)
    total, each = flat.sum(dim=0).square().sum(dim=1), flat.square().sum(dim=(0, 2))
    signal = (total - each) / (count * (count - 1))
    noise = each / count - signal
    ratio = float((noise.clamp_min(0) / signal.clamp_min(1e-300)).median())
    wanted = ratio * _ALIKE**2 / (1 - _ALIKE**2)
    return max(1, min(MOST, math.ceil(wanted - 1e-9))) if math.isfinite(wanted) else MOST


def likeness(draws: Tensor) -> float:
    """Mean cosine between the averages of two halves of the draws: near 0 where averaging does not help.

    Args:
        draws: `[N, B, ...]`, N >= 2.
    """
    half = len(draws) // 2
    one, other = draws[:half].mean(dim=0).flatten(1), draws[half:].mean(dim=0).flatten(1)
    return float(torch.nn.functional.cosine_similarity(one, other, dim=1).mean())
