"""What is to be ruled out: inputs in a region whose outputs meet linear conditions, all at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from redoubt.bounds.relaxed.region import Region


@dataclass(frozen=True)
class Case:
    """One way to break the property: an input of the region with `rows @ output <= limits`, row by row.

    Attributes:
        region: of one input, float64 `[1, n]`.
        rows: float64 `[R, m]`, at least one.
        limits: float64 `[R]`.
    """

    region: Region
    rows: Tensor
    limits: Tensor

    def met(self, x: Tensor, y: Tensor) -> Tensor:
        """Bool `[N]`: which of N inputs `[N, n]` with outputs `[N, m]` break the property in this way.

        Nothing is allowed for rounding: the outputs are those of the model, compared as they are.
        """
        inside = ((x >= self.region.lower) & (x <= self.region.upper)).all(dim=1)
        if self.region.centre is not None:
            inside &= self.region.length(x.double() - self.region.centre) <= self.region.radius
        return inside & (y.double() @ self.rows.T <= self.limits).all(dim=1)


def misclassified(region: Region, label: int, classes: int, error: Tensor | None = None) -> tuple[Case, ...]:
    """The cases of another class with a score as high as the label's: where they are ruled out, the label stands.

    Args:
        region: of one input.
        label: the class that must stand.
        classes: how many there are.
        error: how far each score may be off as it is computed, `[1, K]` (`single_error`): the label then stands in
            that arithmetic too.  In real arithmetic alone when None.
    """
    others = [k for k in range(classes) if k != label]
    rows = torch.zeros(len(others), 1, classes, dtype=torch.float64)
    rows[:, 0, label] = 1.0
    rows[torch.arange(len(others)), 0, others] = -1.0
    slack = torch.zeros(1, classes, dtype=torch.float64) if error is None else error
    return tuple(Case(region, row, slack[:, label] + slack[:, k]) for row, k in zip(rows, others, strict=True))


@dataclass(frozen=True)
class Batch:
    """Cases side by side.

    Attributes:
        region: `[B, n]`.
        rows: `[B, R, m]`; cases of fewer rows repeat their first.
        limits: `[B, R]`.
    """

    region: Region
    rows: Tensor
    limits: Tensor

    def only(self, which: Tensor) -> "Batch":
        """Some of the cases, by index; repeated where an index is."""
        return Batch(self.region.rows(which), self.rows[which], self.limits[which])


def _with_sum(case: Case) -> Case:
    whole = bool(((case.rows == case.rows.round()) & (case.rows.abs() < 2**40)).all())
    if len(case.rows) == 1 or not whole:  # only sums without rounding
        return case
    limit = case.limits.sum() + len(case.limits) * 2.0**-50 * case.limits.abs().sum()
    share = 2.0 ** -math.ceil(math.log2(len(case.rows)))  # of about the size of the others, and exact
    return Case(
        case.region,
        torch.cat([case.rows, share * case.rows.sum(dim=0, keepdim=True)]),
        torch.cat([case.limits, share * limit[None]]),
    )


def side_by_side(cases: Sequence[Case]) -> Batch:
    """The cases as one batch.  Where all conditions of a case must be met, their sum is one more: what no single
    condition rules out, it may.
    """
    cases = [_with_sum(case) for case in cases]
    most = max(len(case.limits) for case in cases)
    picked = [torch.arange(most).where(torch.arange(most) < len(case.limits), torch.tensor(0)) for case in cases]
    first = cases[0].region
    return Batch(
        Region(
            torch.cat([case.region.lower for case in cases]),
            torch.cat([case.region.upper for case in cases]),
            None
            if first.centre is None
            else torch.cat([c.region.centre for c in cases if c.region.centre is not None]),
            first.radius,
            first.norm,
        ),
        torch.stack([case.rows[rows] for case, rows in zip(cases, picked, strict=True)]),
        torch.stack([case.limits[rows] for case, rows in zip(cases, picked, strict=True)]),
    )
