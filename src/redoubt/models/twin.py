"""A differentiable twin of a model that can only be asked, and the check that it is one."""

from collections.abc import Callable

import torch
from torch import Tensor

from redoubt.models.base import Differentiable, Face, Model
from redoubt.records import ModelError

TOLERANCE = 1e-4
"""How far a twin may be from the original, as a share of the largest score."""


def disagreement(twin: Callable[[Tensor], Tensor], original: Callable[[Tensor], Tensor], face: Face) -> float:
    """The largest difference between their scores, as a share of the largest score of the original.

    Asked on inputs in the range, seeded: uniformly random ones, random corners of the cube, and the three constant
    inputs low, middle and high.  Infinite if a score is not finite or the shapes differ.
    """
    rng = torch.Generator().manual_seed(0)
    unit = torch.rand((9, *face.shape), generator=rng)
    unit[4:6] = unit[4:6].round()
    unit[6], unit[7], unit[8] = 0.0, 0.5, 1.0
    x = (face.low + unit * (face.high - face.low)).clamp(face.low, face.high)
    with torch.no_grad():
        mine, theirs = twin(x).double(), original(x).double()
    if mine.shape != theirs.shape or not (mine.isfinite().all() and theirs.isfinite().all()):
        return float("inf")
    return float((mine - theirs).abs().max() / theirs.abs().max().clamp_min(1e-6))


def as_differentiable(model: Model) -> Differentiable:
    """The model, if it has gradients.

    Raises:
        ModelError: it has none; the message says why, for an ONNX graph by naming the operators.
    """
    if isinstance(model, Differentiable):
        return model
    why = getattr(model, "why_not_differentiable", None) or f"a {type(model).__name__} can only be asked"
    raise ModelError(
        f"this model cannot be differentiated: {why}",
        remedy="let the adversary know nothing (`knows: nothing`), so that it is attacked by queries, "
        "or give the model in another form",
    )
