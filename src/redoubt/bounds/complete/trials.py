"""Points that may be counterexamples, tried on the model itself."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from redoubt.bounds.complete.cases import Case

Run: TypeAlias = Callable[[Tensor], Tensor]
"""The model that is asked: float32 inputs `[N, n]` to outputs `[N, m]`."""


class Trials:
    """Tries points on the model, and keeps the first that breaks the property.

    Args:
        run: the model as it is deployed, in its own precision.
        cases: the property.
    """

    def __init__(self, run: Run, cases: Sequence[Case]) -> None:
        self._run, self._cases = run, cases
        self.found: Tensor | None = None
        self.unconfirmed = 0

    def offer(self, case: int, x: Tensor) -> bool:
        """Try float64 points `[N, n]` for one of the cases; whether one of them breaks the property."""
        region = self._cases[case].region
        single = into_float32(x, region.lower, region.upper)
        met = self._cases[case].met(single.double(), self._run(single))
        if bool(met.any()):
            self.found = single[met.nonzero()[0, 0]]
            return True
        self.unconfirmed += 1
        return False


def into_float32(x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """The points in float32, moved by one step of it back into the box where rounding took them out."""
    single = x.float()
    down, up = (torch.nextafter(single, torch.tensor(end)) for end in (-torch.inf, torch.inf))
    single = torch.where(single.double() > upper, down, single)
    return torch.where(single.double() < lower, up, single)
