"""Softmax regression with an L2 penalty over fixed features: its optimum, and what a change of the data moves in it.

It is strictly convex, so that influence functions hold of it as they are derived (Koh and Liang 2017, section 2): the
Hessian's product with a vector has a closed form, and its inverse's is found by conjugate gradients.  Over the features
of a network's last hidden layer it stands for the network, as in section 5.2 of the paper; over raw inputs it is a
linear model itself.

    features  phi [N, D+1]  scaled to a mean square of 1, and a 1 at the end
    weights   W   [K, D+1]
    loss      J = mean cross-entropy + l2 / 2 |W|^2
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

_STEPS = 60
_SETTLED = 1e-9
_SOLVED = 1e-5  # relative residual of conjugate gradients
_ROUNDS = 300
_ROUGHLY, _FEW = 0.03, 40  # the same, and their number, for a step of the fit, which is corrected by the next


@dataclass(frozen=True)
class Head:
    """A fitted softmax regression, with what influence needs.

    Attributes:
        weights: float64 `[K, D + 1]`.
        scale: what features are divided by.
        phi: the scaled features that it was fitted on, `[N, D + 1]`.
        l2: its penalty.
    """

    weights: Tensor
    scale: float
    phi: Tensor
    l2: float

    def lift(self, features: Tensor) -> Tensor:
        """Raw features `[B, D]` as the head takes them: float64 `[B, D + 1]`; differentiable."""
        return _lifted(features, self.scale)

    def slope(self, phi: Tensor, y: Tensor) -> Tensor:
        """Gradient of the mean cross-entropy of B lifted examples with these labels, `[K, D + 1]`."""
        p = torch.softmax(phi @ self.weights.T, dim=1)
        return (p - F.one_hot(y, len(self.weights))).T @ phi / len(y)

    def solve(self, slope: Tensor, residual: float = _SOLVED) -> Tensor:
        """The inverse Hessian's product with `slope`, `[K, D + 1]`, by conjugate gradients to that residual."""
        p = torch.softmax(self.phi @ self.weights.T, dim=1)
        return _conjugate(partial(_curved, self.phi, p, self.l2), slope, residual)


def fit_head(
    features: Tensor,
    y: Tensor,
    classes: int,
    *,
    l2: float = 1e-3,
    start: Head | None = None,
    settled: float = _SETTLED,
) -> Head:
    """Fit it to its optimum, by Newton's method with conjugate gradients and halved steps.

    Args:
        features: float64 `[N, D]`.
        y: int64 `[N]`.
        classes: K.
        l2: the penalty, above 0.
        start: a head of nearly the same data, from which to go on, with its scale.
        settled: the relative fall of the loss at which it stops; looser for one fit of many in a row.
    """
    scale = start.scale if start else float(features.square().mean().sqrt().clamp_min(1e-12))
    phi = _lifted(features, scale)
    weights = start.weights if start else torch.zeros(classes, phi.shape[1], dtype=torch.float64)

    def cost(at: Tensor) -> Tensor:
        return F.cross_entropy(phi @ at.T, y) + l2 / 2 * at.square().sum()

    now, truth = cost(weights), F.one_hot(y, classes)
    for _ in range(_STEPS):
        p = torch.softmax(phi @ weights.T, dim=1)
        slope = (p - truth).T @ phi / len(y) + l2 * weights
        move = _conjugate(partial(_curved, phi, p, l2), slope, _ROUGHLY, _FEW)
        length = 1.0
        while length > 1e-6 and (then := cost(weights - length * move)) > now:
            length /= 2
        if length <= 1e-6:
            break
        weights, before, now = weights - length * move, now, then
        if before - now < settled * before.abs():
            break
    return Head(weights, scale, phi, l2)


def _lifted(features: Tensor, scale: float) -> Tensor:
    return F.pad(features.double() / scale, (0, 1), value=1.0)


def _curved(phi: Tensor, p: Tensor, l2: float, at: Tensor) -> Tensor:
    """The Hessian's product with `at`: `phi^T (p * (u - <p, u>)) / N + l2 at`, where `u = phi at^T`."""
    u = phi @ at.T
    return (p * (u - (p * u).sum(dim=1, keepdim=True))).T @ phi / len(phi) + l2 * at


def _conjugate(
    product: Callable[[Tensor], Tensor], wanted: Tensor, residual: float = _SOLVED, rounds: int = _ROUNDS
) -> Tensor:
    """Solve `product(s) = wanted` for a positive definite product (Hestenes and Stiefel 1952)."""
    found, rest = torch.zeros_like(wanted), wanted.clone()
    way, size = rest.clone(), float(rest.square().sum())
    enough = residual**2 * size
    for _ in range(rounds):
        if size <= enough:
            break
        bent = product(way)
        step = size / float((way * bent).sum())
        found, rest = found + step * way, rest - step * bent
        before, size = size, float(rest.square().sum())
        way = rest + size / before * way
    return found
