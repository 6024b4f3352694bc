"""Which records enter which step.  The accountant counts on Poisson sampling, so training refuses anything else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy.stats import binom, chi2
from torch import Tensor

from redoubt.harden.private.randomness import PrivateRandom
from redoubt.records import Fault, PolicyError

_SURELY = 1e-9  # a fair sampler is taken for a wrong one this rarely


class Sampler(Protocol):
    """Where batches come from.

    Attributes:
        rate: the probability with which it says that each record enters each step, by itself; None where records do not
            enter by themselves, as in shuffled batches or batches of a fixed size.
    """

    @property
    def rate(self) -> float | None: ...

    def batches(self, records: int, steps: int, random: PrivateRandom) -> Iterator[Tensor]:
        """The rows of each step, int64 `[B]`, B of any size, also 0; `steps` times."""


@dataclass(frozen=True)
class Poisson:
    """Each record enters each step with probability `rate`, whatever the others do."""

    rate: float

    def batches(self, records: int, steps: int, random: PrivateRandom) -> Iterator[Tensor]:
        """Rows in ascending order."""
        for _ in range(steps):
            yield torch.from_numpy(np.flatnonzero(random.coins(records, self.rate)))


@dataclass(frozen=True)
class Shuffled:
    """Batches of a fixed size from a shuffled data set: what most training does, and no accountant here covers."""

    size: int
    rate: None = None

    def batches(self, records: int, steps: int, random: PrivateRandom) -> Iterator[Tensor]:
        """Rows of one epoch after another; what is left over at an epoch's end is dropped."""
        left = torch.empty(0, dtype=torch.int64)
        for _ in range(steps):
            if len(left) < self.size:
                left = random.gaussians(records).argsort()
            batch, left = left[: self.size], left[self.size :]
            yield batch


def must_match(sampler: Sampler, rate: float) -> None:
    """Refuse a sampler that does not draw as the accountant is told that it does.

    Raises:
        PolicyError: it does not draw record by record, or with another rate.
    """
    if sampler.rate is None:
        raise PolicyError(
            f"{type(sampler).__name__} does not draw each record by itself, and the accountant counts on that",
            remedy=f"sample with Poisson({rate!r}); the figures of a shuffled training are not known to hold",
        )
    if sampler.rate != rate:
        raise PolicyError(
            f"{type(sampler).__name__} draws with probability {sampler.rate!r}, the accountant counts on {rate!r}",
            remedy="give both the same rate",
        )


def must_be_poisson(sizes: Sequence[int], records: int, rate: float) -> None:
    """Refuse what was drawn, if the sizes of the batches are not those of Poisson sampling.

    Both their sum and their spread are looked at, each refused where a fair sampler would pass in all but one of
    10**9 runs. Not covered: draws that depend on one another, or on the data, with sizes as they should be.

    Raises:
        Fault: the sampler does not do what it says.
    """
    total, steps = sum(sizes), len(sizes)
    tail = min(binom.cdf(total, records * steps, rate), binom.sf(total - 1, records * steps, rate))
    spread = 1.0
    variance = records * rate * (1 - rate)
    if variance >= 10:  # else the sizes are too far from normal for this test
        unlike = sum((size - records * rate) ** 2 for size in sizes) / variance
        spread = min(chi2.cdf(unlike, steps), chi2.sf(unlike, steps))
    if min(float(tail), float(spread)) < _SURELY:
        raise Fault(
            f"batches of {total / max(steps, 1):.1f} records on average, and their spread, are not those of Poisson "
            f"sampling of {records} records at rate {rate!r}",
            remedy="use the sampler Poisson; nothing that was trained with this one has the guarantee",
        )
