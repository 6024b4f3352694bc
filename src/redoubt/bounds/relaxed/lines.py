"""Two lines around an activation over an interval: one below, one above, each held by the same interval."""

from dataclasses import dataclass

import torch
from torch import Tensor

from redoubt.bounds.network.ops import SShape
from redoubt.bounds.relaxed.interval import ROUNDING, TINY


@dataclass(frozen=True)
class Lines:
    """`low_slope * z + low_shift <= f(z) <= high_slope * z + high_shift` for l <= z <= u.

    Each `[B, n]`, the same for all linear functions that are bounded, or `[B, S, n]`.
    """

    low_slope: Tensor
    low_shift: Tensor
    high_slope: Tensor
    high_shift: Tensor


def relu_lines(low: Tensor, high: Tensor, slope: Tensor | None = None) -> Lines:
    """Lines around max(z, 0) (Zhang et al. 2018, CROWN; section 3.2).

    The upper line is the chord.  Any line through 0 with a slope in 0..1 lies below.

    Args:
        low: the least z, `[B, n]`.
        high: the greatest.
        slope: of the lower line where z may be on either side of 0, `[B, S, n]`, in 0..1; where None, 1 if z reaches
            further above 0 than below, else 0.
    """
    on = low >= 0
    open_ = ~(on | (high <= 0))
    above, below = torch.where(open_, high, 1.0), torch.where(open_, low, 0.0)
    chord = above / (above - below)
    # Whatever the slope was rounded to, the line is lifted until it lies above both ends of a convex function.
    lift = torch.maximum(-chord * below, above * (1 - chord)) * (1 + ROUNDING) + TINY
    zero = torch.zeros_like(low)
    always = on.to(low.dtype)
    high_slope, high_shift = torch.where(open_, chord, always), torch.where(open_, lift, zero)
    if slope is None:
        return Lines(torch.where(open_, (high > -low).to(low.dtype), always), zero, high_slope, high_shift)
    return Lines(torch.where(open_[:, None], slope, always[:, None]), zero, high_slope, high_shift)


def s_lines(op: SShape, low: Tensor, high: Tensor, slopes: Tensor | None = None) -> Lines:
    """Lines around a sigmoid or tanh.

    Whatever its slope, a line is moved until it touches: the shift is the extreme of f(z) - k z over the interval,
    which lies at an end or where f' = k.

    Args:
        op: which.
        low: the least z, `[B, n]`.
        high: the greatest.
        slopes: of the lower and the upper line, `[B, S, 2, n]`; tangents and chords where None.
    """
    if slopes is None:
        low_slope, high_slope = _upper_slope(op, -high, -low), _upper_slope(op, low, high)
    else:
        low_slope, high_slope = slopes[:, :, 0], slopes[:, :, 1]
        low, high = low[:, None], high[:, None]
    slack = 1e-13 * (1 + low.abs() + high.abs())
    least = torch.stack(_gaps(op, low, high, low_slope)).amin(dim=0) - slack
    most = torch.stack(_gaps(op, low, high, high_slope)).amax(dim=0) + slack
    return Lines(low_slope, least, high_slope, most)


def start_slopes(op: SShape, low: Tensor, high: Tensor, rows: int) -> Tensor:
    """The slopes that `s_lines` takes by itself, `[B, S, 2, n]`, to be improved upon."""
    pair = torch.stack([_upper_slope(op, -high, -low), _upper_slope(op, low, high)], dim=1)
    return pair[:, None].expand(-1, rows, -1, -1).clone()


def steepest(op: SShape) -> float:
    """The largest slope of f, at 0."""
    return 0.25 if op.kind == "sigmoid" else 1.0


def _gaps(op: SShape, low: Tensor, high: Tensor, slope: Tensor) -> list[Tensor]:
    """f(z) - slope * z at all points where it can be extreme."""
    share = (1 - slope.detach() / steepest(op)).clamp(0.0, 1 - 1e-12).sqrt()  # |tanh| where f' has that slope
    touch = torch.atanh(share) * (2 if op.kind == "sigmoid" else 1)
    points = [low, high, touch.clamp(low, high), (-touch).clamp(low, high)]
    return [op.forward(z) - slope * z for z in points]


def _slope_at(op: SShape, z: Tensor) -> Tensor:
    value = op.forward(z)
    return value * (1 - value) if op.kind == "sigmoid" else 1 - value * value


def _upper_slope(op: SShape, low: Tensor, high: Tensor) -> Tensor:
    """A good slope for the upper line; that for the lower one follows, since f is odd about its middle.

    Right of 0, where f bends down, the tangent in the middle; else the chord, where it lies above f, or the tangent
    through the lower end.
    """
    wide = (high - low).clamp_min(1e-9)
    chord = ((op.forward(high) - op.forward(low)) / wide).clamp(1e-9, steepest(op))
    left, right = torch.zeros_like(high), high.clamp_min(0)
    for _ in range(24):  # where the tangent goes through the lower end
        middle = (left + right) / 2
        under = _slope_at(op, middle) * (middle - low) < op.forward(middle) - op.forward(low)
        left, right = torch.where(under, left, middle), torch.where(under, middle, right)
    tangent = torch.where(low >= 0, _slope_at(op, (low + high) / 2), _slope_at(op, right))
    keeps = (high <= 0) | ((low < 0) & (_slope_at(op, high) * wide >= op.forward(high) - op.forward(low)))
    return torch.where(keeps | (high - low < 1e-6), chord, tangent).clamp(1e-9, steepest(op))


def line_rounding(size: int, given: Tensor, made: Tensor) -> Tensor:
    """What rounding may change per unit of a coefficient on an activation's output, `[1, n]`.

    Args:
        size: how many numbers are summed up.
        given: the largest magnitudes of its input.
        made: those of its output.
    """
    return (size + 8) * ROUNDING * (2 * given + made) + TINY
