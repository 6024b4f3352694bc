"""Strategies of the privacy game: from a canary's trace over the steps to one score, higher for "it was there".

Each suits another fault.  None is told which are members; which of them to trust is learnt from opened canaries.
"""

from typing import Protocol

import torch
from torch import Tensor


class Distinguisher(Protocol):
    """`[m, S]` float64 to scores `[m]`; a row's score may depend on the other rows."""

    def __call__(self, traces: Tensor) -> Tensor: ...


def total(traces: Tensor) -> Tensor:
    """The sum over the steps, which is what the final weights show.  Finds noise that is too small everywhere."""
    return traces.sum(1)


def peak(traces: Tensor) -> Tensor:
    """The largest step: finds that a record took part *once*, when few took part at all."""
    return traces.max(1).values


def spread(traces: Tensor) -> Tensor:
    """The variance over the steps: coming and going shows even under noise that repeats."""
    return traces.var(1) if traces.shape[1] > 1 else torch.zeros(len(traces), dtype=traces.dtype)


def likelihood(traces: Tensor) -> Tensor:
    """The log-likelihood ratio of Gaussian steps into which a record enters now and then.

    The scale of the noise is taken from the middle half of all steps, the size of a record's part and how often it
    enters from a short grid; the score is the best fit, per canary.
    """
    centred = traces - traces.median()
    low, high = (torch.quantile(_some(centred), q) for q in (0.25, 0.75))
    sigma = ((high - low) / 1.349).clamp_min(1e-30)
    z = centred / sigma
    ratios = []
    for part in (0.5, 1.0, 2.0, 4.0):
        lift = part * z - part * part / 2
        for rate in (0.03, 0.1, 0.3):
            quiet, loud = torch.log1p(torch.tensor(-rate)), torch.log(torch.tensor(rate))
            ratios.append(torch.logaddexp(quiet.to(z), loud + lift).sum(1))
    return torch.stack(ratios).max(0).values


def _some(values: Tensor) -> Tensor:
    """At most 10**5 of them, evenly picked: torch's quantile takes no more than 2**24."""
    flat = values.flatten()
    return flat[:: max(1, len(flat) // 100_000)]


DISTINGUISHERS: dict[str, Distinguisher] = {"total": total, "peak": peak, "spread": spread, "likelihood": likelihood}
"""By name, in the order in which ties are decided."""
