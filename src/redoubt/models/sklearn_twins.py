"""Torch twins of the scikit-learn classifiers that have gradients."""

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from redoubt.models.extras import needs

_ACTIVATIONS = {"identity": nn.Identity, "logistic": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}


class NoTwin(Exception):
    """An estimator has no twin.  Says why, as a clause."""


class Affine(nn.Module):
    """`x * scale + shift`, per feature, cut to `[low, high]` if given."""

    def __init__(self, scale: Any, shift: Any, cut: tuple[float, float] | None = None) -> None:
        super().__init__()
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float64))
        self.register_buffer("shift", torch.as_tensor(shift, dtype=torch.float64))
        self._cut = cut

    def forward(self, x: Tensor) -> Tensor:
        """Float64 `[B, F]` to `[B, F]`."""
        moved = x * self.get_buffer("scale") + self.get_buffer("shift")
        return moved if self._cut is None else moved.clamp(*self._cut)


def twin_of(estimator: Any) -> nn.Module:
    """A float64 module from `[B, F]` to what the estimator's scores are made of.

    These are the decision function for linear classifiers, the activations before the last softmax or sigmoid for
    multi-layer perceptrons: `[B, K]`, or `[B, 1]` for two classes.

    Raises:
        NoTwin: the estimator, or a step of the pipeline, is not differentiable here; the message names it.
    """
    with needs("sklearn"):
        from sklearn.linear_model._base import LinearClassifierMixin
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import Pipeline
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps if step not in (None, "passthrough")]
        return nn.Sequential(*[_scaler(step) for step in steps[:-1]], twin_of(steps[-1]))
    if isinstance(estimator, LinearClassifierMixin):
        # Some binary classifiers keep their one row of coefficients as `[F]`.
        return _linear(np.atleast_2d(estimator.coef_).T, np.atleast_1d(estimator.intercept_))
    if isinstance(estimator, MLPClassifier):
        layers: list[nn.Module] = []
        for weight, bias in zip(estimator.coefs_, estimator.intercepts_, strict=True):
            layers += [_linear(weight, bias), _ACTIVATIONS[estimator.activation]()]
        return nn.Sequential(*itertools.islice(layers, len(layers) - 1))
    raise NoTwin(f"{type(estimator).__name__} has no gradient")


def _scaler(step: Any) -> nn.Module:
    kind = type(step).__name__
    if kind == "StandardScaler":
        scale = 1.0 if step.scale_ is None else 1.0 / torch.as_tensor(step.scale_)
        shift = 0.0 if step.mean_ is None or not step.with_mean else -torch.as_tensor(step.mean_) * scale
        return Affine(scale, shift)
    if kind == "MinMaxScaler":
        low, high = step.feature_range
        return Affine(step.scale_, step.min_, (float(low), float(high)) if step.clip else None)
    if kind == "MaxAbsScaler":
        cut = (-1.0, 1.0) if getattr(step, "clip", False) else None
        return Affine(1.0 / torch.as_tensor(step.scale_), 0.0, cut)
    if kind == "RobustScaler":
        scale = 1.0 if step.scale_ is None else 1.0 / torch.as_tensor(step.scale_)
        return Affine(scale, 0.0 if step.center_ is None else -torch.as_tensor(step.center_) * scale)
    raise NoTwin(f"the pipeline's step {kind} has no gradient here")


def _linear(weight: Any, bias: Any) -> nn.Linear:
    """From a weight `[F, K]` and a bias `[K]` or `[1]`."""
    given = torch.as_tensor(weight, dtype=torch.float64).T.contiguous()
    layer = nn.Linear(given.shape[1], given.shape[0], dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(given)
        layer.bias.copy_(torch.as_tensor(bias, dtype=torch.float64).expand(given.shape[0]))
    return layer
