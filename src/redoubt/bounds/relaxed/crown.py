"""Linear bounds, backwards through the network: CROWN (Zhang et al. 2018), with split constraints (Wang et al. 2021).

What is bounded from below is a·v, for a value v of the network and rows a.  From the last step to the first, each
operator is replaced by its matrix, or by lines around it, until a linear function of the input is left, whose least
value over a region is known.  Everything is batched: B sub-problems, S rows for each.

Soundness.  Bounds hold for the network in real arithmetic with its weights as stored.  Computed in float64; with each
coefficient that the sweep meets, the error that rounding may have made there is charged to the bound (`Costs`), so what
is returned has been lowered by more than the sum of all errors.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from redoubt.bounds.network.graph import Graph
from redoubt.bounds.network.ops import Affine, Convolution, Dense, Relu, SShape, Total
from redoubt.bounds.relaxed.interval import ROUNDING, TINY, Pair, affine_interval, bent, interval_values, rounding_of
from redoubt.bounds.relaxed.lines import Lines, line_rounding, relu_lines, s_lines
from redoubt.bounds.relaxed.region import Region

_CELLS = 6_000_000  # coefficients held at once


class Stopped(Exception):
    """Whoever waits for the bounds has no more time for them."""


def never() -> bool:
    """Nobody is in a hurry."""
    return False


@dataclass(frozen=True)
class Costs:
    """What rounding may cost, over all inputs of a region and those of its parts.

    Attributes:
        each: per unit of a coefficient on each value, `[1, n]`.
        sizes: the largest magnitude of each value, `[1, n]`.
    """

    each: tuple[Tensor, ...]
    sizes: tuple[Tensor, ...]


def costs_of(graph: Graph, region: Region) -> Costs:
    """The costs over all regions of a batch together."""
    low, high = region.lower.amin(dim=0, keepdim=True), region.upper.amax(dim=0, keepdim=True)
    sizes = [torch.maximum(low.abs(), high.abs()) for low, high in interval_values(graph, low, high)]
    each = [(graph.size + 4) * ROUNDING * sizes[0] + TINY]
    for at, step in enumerate(graph.steps, 1):
        given = [sizes[i] for i in step.inputs]
        if isinstance(step.op, Affine):
            each.append(rounding_of(step.op, *given) + ROUNDING * sizes[at])
        else:
            each.append(line_rounding(step.size, given[0], sizes[at]))
    return Costs(tuple(each), tuple(sizes))


@dataclass(frozen=True)
class Splits:
    """Signs that some inputs of ReLUs are assumed to have, and the multipliers of these assumptions.

    Attributes:
        signs: by number of the ReLU's value, `[B, n]`: 1 for z >= 0, -1 for z <= 0, 0 for no assumption.
        multipliers: by the same number, `[B, S, n]`, at least 0: beta in Wang et al.
    """

    signs: Mapping[int, Tensor]
    multipliers: Mapping[int, Tensor]


@dataclass(frozen=True)
class Swept:
    """What a backward sweep leaves.

    Attributes:
        bound: `[B, S]`, of a·v from below.
        on_input: `[B, S, n]`, the linear function of the input that it is the least value of.
        at: by number of each activation's value, the coefficients on it, `[B, S, n]`.
    """

    bound: Tensor
    on_input: Tensor
    at: dict[int, Tensor]


def sweep(
    graph: Graph,
    region: Region,
    start: int,
    a: Tensor,
    before: Mapping[int, Pair],
    *,
    slopes: Mapping[int, Tensor] | None = None,
    splits: Splits | None = None,
    costs: Costs | None = None,
) -> Swept:
    """Bound a·v from below over a region.

    Args:
        graph: frozen; without `Largest`.
        region: B of them.
        start: number of the value v.
        a: `[B, S, size of v]`.
        before: bounds on the input of every activation before v, by the activation's number, `[B, n]`.
        slopes: of the lower lines, by the same number; see `relu_lines` and `s_lines`.
        splits: assumptions under which the bound need hold only.
        costs: of rounding.  None leaves rounding out: for the search for good slopes, not for what is claimed.
    """
    waiting: dict[int, Tensor] = {start: a}
    total = a.new_zeros(a.shape[:2])
    seen: dict[int, Tensor] = {}
    for at in range(start, 0, -1):
        coefficients = waiting.pop(at, None)
        if coefficients is None:
            continue
        step = graph.steps[at - 1]
        if costs is not None:
            total = total - coefficients.abs() @ costs.each[at][0]
        if isinstance(step.op, Affine):
            parts, bias = step.op.back(coefficients)
            if bias is not None:
                total = total + bias
        else:
            seen[at] = coefficients
            lines = _lines(step.op, before[at], None if slopes is None else slopes.get(at))
            part, shift = _through(lines, coefficients)
            total = total + shift
            if splits is not None and at in splits.signs:
                push = splits.multipliers[at] * splits.signs[at][:, None]
                part = part - push
                if costs is not None:
                    total = total - ROUNDING * (push.abs() @ costs.sizes[step.inputs[0]][0])
            parts = (part,)
        for value, part in zip(step.inputs, parts, strict=True):
            waiting[value] = waiting[value] + part if value in waiting else part
    on_input = waiting.get(0)
    if on_input is None:
        on_input = a.new_zeros(*a.shape[:2], graph.size)
    if costs is not None:
        total = total - on_input.abs() @ costs.each[0][0] - ROUNDING * total.abs()
    return Swept(total + region.least(on_input), on_input, seen)


def _lines(op: object, before: Pair, slopes: Tensor | None) -> Lines:
    if isinstance(op, Relu):
        return relu_lines(*before, slopes)
    if isinstance(op, SShape):
        return s_lines(op, *before, slopes)
    raise TypeError(f"{type(op).__name__} has no lines: use without_largest")


def _through(lines: Lines, a: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients before an activation, and what is added: the lower line where a coefficient is positive."""
    up, down = a.clamp_min(0), a.clamp_max(0)
    low_slope, low_shift, high_slope, high_shift = (
        v if v.dim() == 3 else v[:, None]
        for v in (lines.low_slope, lines.low_shift, lines.high_slope, lines.high_shift)
    )
    return up * low_slope + down * high_slope, (up * low_shift + down * high_shift).sum(dim=-1)


def bounds_before(
    graph: Graph,
    region: Region,
    costs: Costs,
    *,
    known: Mapping[int, Pair] | None = None,
    signs: Mapping[int, Tensor] | None = None,
    stop: Callable[[], bool] = never,
) -> dict[int, Pair]:
    """Sound bounds `[B, n]` on the input of every activation, by the activation's number: the tighter of intervals
    and linear bounds.

    Where linear bounds cannot tell more (a ReLU that is on or off anyway, the first layer over a box), only intervals
    are computed.

    Args:
        graph: frozen; without `Largest`.
        region: B of them.
        costs: of rounding, over a region that holds them.
        known: bounds that hold already.
        signs: see `Splits`; the bounds need hold only where these do.
        stop: whether to give up now.

    Raises:
        Stopped: it said so.
    """
    values: list[Pair] = [(region.lower, region.upper)]
    found: dict[int, Pair] = {}
    for at, step in enumerate(graph.steps, 1):
        inputs = [values[i] for i in step.inputs]
        if isinstance(step.op, Affine):
            values.append(affine_interval(step.op, inputs, sound=True))
            continue
        low, high = inputs[0]
        if known is not None and at in known:
            low, high = torch.maximum(low, known[at][0]), torch.minimum(high, known[at][1])
        low, high = _assumed(low, high, signs, at)
        if not (region.is_box and _is_first(graph, step.inputs[0])):
            open_ = (low < 0) & (high > 0) if isinstance(step.op, Relu) else high > low
            low, high = _tightened(graph, region, costs, step.inputs[0], (low, high), open_.any(dim=0), found, stop)
            low, high = _assumed(low, high, signs, at)
        found[at] = (low, high)
        values.append(bent(step.op, (low, torch.maximum(low, high))))
    return found


def _assumed(low: Tensor, high: Tensor, signs: Mapping[int, Tensor] | None, at: int) -> Pair:
    if signs is None or at not in signs:
        return low, high
    sign = signs[at]
    return torch.where(sign > 0, low.clamp_min(0), low), torch.where(sign < 0, high.clamp_max(0), high)


def _is_first(graph: Graph, value: int) -> bool:
    """Whether intervals of that value are as tight as linear bounds over a box: one matrix after the input."""
    matrices = 0
    while value:
        step = graph.steps[value - 1]
        if not isinstance(step.op, Affine) or (isinstance(step.op, Total) and len(step.inputs) > 1):
            return False
        if len(step.inputs) > 1:
            return False
        matrices += isinstance(step.op, Dense | Convolution)
        value = step.inputs[0]
    return matrices <= 1


def _tightened(
    graph: Graph,
    region: Region,
    costs: Costs,
    value: int,
    pair: Pair,
    which: Tensor,
    before: Mapping[int, Pair],
    stop: Callable[[], bool],
) -> Pair:
    """Linear bounds on some numbers of a value, `which` `[n]`, joined with what is known."""
    low, high = (bound.clone() for bound in pair)
    wanted = which.nonzero().squeeze(1)
    widest = max(graph.size_of(v) for v in range(value + 1))
    chunk = max(_CELLS // (2 * len(region) * widest), 1)
    for part in torch.split(wanted, chunk) if len(wanted) else ():
        if stop():
            raise Stopped
        rows = torch.zeros(2 * len(part), graph.size_of(value), dtype=low.dtype, device=low.device)
        rows[torch.arange(len(part)), part] = 1.0
        rows[torch.arange(len(part)) + len(part), part] = -1.0
        a = rows.expand(len(region), -1, -1)
        bound = sweep(graph, region, value, a, before, costs=costs).bound
        low[:, part] = torch.maximum(low[:, part], bound[:, : len(part)])
        high[:, part] = torch.minimum(high[:, part], -bound[:, len(part) :])
    return low, high
