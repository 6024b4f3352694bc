"""How far a network computed in float32 may be from the network in real arithmetic.

A forward error analysis (Higham 2002, section 3.1): a sum of k products is off by at most k units of rounding of the
sum of their magnitudes, in whatever order it is added up, with fused multiplication or without.  Transformed
convolutions (Winograd, FFT), and numbers of fewer digits than float32 (bfloat16, TF32), are not covered.
"""

import torch
from torch import Tensor

from redoubt.bounds.network.graph import Graph
from redoubt.bounds.network.ops import Affine, Largest, SShape
from redoubt.bounds.relaxed.interval import interval_values

_UNIT = 2.0**-24
_LEAST = 1e-37  # where results may be denormal, errors are no longer relative


def single_error(graph: Graph, lower: Tensor, upper: Tensor) -> Tensor:
    """The most that each output computed in float32 may be off, `[1, m]`, for float32 inputs in boxes `[B, n]`.

    Infinite where a value may be too large for float32.

    Args:
        graph: frozen; with `Largest` where it has any.
        lower: of the boxes.
        upper: of the boxes.
    """
    boxes = interval_values(graph, lower.amin(dim=0, keepdim=True), upper.amax(dim=0, keepdim=True))
    sizes = [torch.maximum(low.abs(), high.abs()) for low, high in boxes]
    errors = [torch.zeros_like(sizes[0])]
    for at, step in enumerate(graph.steps, 1):
        given = [errors[i] for i in step.inputs]
        if isinstance(step.op, Affine):
            size = step.op.spread(*(sizes[i] + errors[i] for i in step.inputs))
            offset = step.op.offset()
            size = size if offset is None else size + offset
            error = step.op.spread(*given) + (step.op.terms + 4) * _UNIT * size + _LEAST
        elif isinstance(step.op, Largest):
            error = step.op.forward(given[0])
        elif isinstance(step.op, SShape):
            error = given[0] + 8 * _UNIT
        else:
            error = given[0]
        errors.append(torch.where(sizes[at] + error < 1e38, error, torch.inf))
    return errors[-1]
