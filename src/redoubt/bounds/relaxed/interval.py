"""Interval bound propagation: from a box of inputs to a box of every value (Gowal et al. 2018, section 3).

Two uses.  `interval_bounds` is differentiable in the bounds and in the network's weights, in any precision: training
needs no more.  `interval_values` is what proofs start from: float64, widened by what rounding may have lost, so that
the boxes hold for the network in real arithmetic.
"""

import torch
from torch import Tensor, nn

from redoubt.bounds.network.from_torch import from_torch
from redoubt.bounds.network.graph import Graph
from redoubt.bounds.network.ops import Affine, Bent

ROUNDING = 8 * 2.0**-53
"""Eight units of rounding of float64: a few operations, and the second-order terms of the error bounds."""
TINY = 1e-300  # where results may be denormal, errors are no longer relative

Pair = tuple[Tensor, Tensor]


def interval_bounds(network: nn.Module | Graph, lower: Tensor, upper: Tensor) -> Pair:
    """Bounds `[B, K]` on the outputs of a network over boxes of inputs; differentiable, not rounded outwards.

    Batch normalisation acts by its running statistics, dropout not at all.

    Args:
        network: a module that `from_torch` knows, or its graph; it is traced anew in each call, which takes
            milliseconds, so that it is always the module as it is.
        lower: `[B, *shape]`.
        upper: of the same shape, not below it.

    Raises:
        Unsupported: the module holds something that has no bounds here.

    >>> low, high = interval_bounds(nn.Linear(2, 3), torch.zeros(1, 2), torch.ones(1, 2))
    >>> bool((low <= high).all())
    True
    """
    graph = network if isinstance(network, Graph) else from_torch(network, lower.shape[1:]).cast(lower.dtype)
    return interval_path(graph, lower, upper)[-1]


def interval_path(graph: Graph, lower: Tensor, upper: Tensor) -> list[Pair]:
    """The same bounds `[B, n]` on every value of a graph, in order, that of the input first."""
    return _propagate(graph, (lower.flatten(1), upper.flatten(1)), sound=False)


def interval_values(graph: Graph, lower: Tensor, upper: Tensor) -> list[Pair]:
    """Sound bounds `[B, n]` on every value of a frozen graph, in order, that of the input first."""
    return _propagate(graph, (lower, upper), sound=True)


def _propagate(graph: Graph, given: Pair, *, sound: bool) -> list[Pair]:
    values = [given]
    for step in graph.steps:
        inputs = [values[i] for i in step.inputs]
        values.append(
            affine_interval(step.op, inputs, sound=sound) if isinstance(step.op, Affine) else bent(step.op, inputs[0])
        )
    return values


def affine_interval(op: Affine, inputs: list[Pair], *, sound: bool) -> Pair:
    """Bounds on what an affine operator makes of boxes; widened by what rounding may have lost, if sound."""
    middle = op.forward(*((low + high) / 2 for low, high in inputs))
    half = op.spread(*((high - low) / 2 for low, high in inputs))
    if sound:
        half = half + rounding_of(op, *(torch.maximum(low.abs(), high.abs()) for low, high in inputs))
    return middle - half, middle + half


def rounding_of(op: Affine, *sizes: Tensor) -> Tensor:
    """How much rounding may change the results `[B, m]` of an operator whose inputs are at most so large `[B, n_i]`.

    A sum of k products is off by at most k units of rounding of the sum of their magnitudes (Higham 2002, section 3.1).
    """
    size, offset = op.spread(*sizes), op.offset()
    return (op.terms + 4) * ROUNDING * (size if offset is None else size + offset) + TINY


def bent(op: Bent, pair: Pair) -> Pair:
    """All known operators that are not affine grow with their inputs; only s-shapes round."""
    low, high = op.forward(pair[0]), op.forward(pair[1])
    if hasattr(op, "kind"):
        slack = 16 * torch.finfo(low.dtype).eps
        return low - slack, high + slack
    return low, high
