"""Representer points (Yeh et al. 2018): a last layer, fitted with a penalty, is a sum over its training points."""

import torch
import torch.nn.functional as F
from torch import Tensor

from redoubt.records import DataError

PENALTY = 1e-2
"""Lambda of the refitted layer.  The smaller, the more the trail names points that hold a class as a whole, and the
less those near to the input; of 1e-2 to 1e-5, tried on planted labels of small digits, this one found most of them."""
MOST_VALUES = 200_000_000  # of float64 that the features may have
_STEPS = 500


class Representers:
    """The last layer, fitted again on the training points: convex, so that there is one answer.

    Theta minimises the mean cross-entropy plus `penalty` |Theta|^2.  There the gradient is zero, hence
    Theta = sum_i alpha_i h_i^T with alpha_i = -(p_i - e_yi) / (2 penalty N): each logit of an input is a sum over the
    training points, exactly (theorem 3.1).

    Args:
        features: what goes into the layer, with a one for the bias, float64 `[N, D]`.
        labels: int64 `[N]`.
        classes: K.
        penalty: of the squared norm.

    Attributes:
        alpha: float64 `[N, K]`.

    Raises:
        DataError: the features do not fit into memory.

    Not covered: what the layers below learnt from which point.  The fitted layer may answer otherwise than the
    model's own; `logits` says what it answers.
    """

    def __init__(self, features: Tensor, labels: Tensor, classes: int, penalty: float = PENALTY) -> None:
        if features.numel() > MOST_VALUES:
            raise DataError(
                f"{len(features)} training points with {features.shape[1]} features each are too many to fit",
                remedy="write data: {train: {source: …, take: 20000}}, or ask --by tracin",
            )
        self._features = features
        self.theta = _fit(features, labels, classes, penalty)
        residual = (features @ self.theta.T).softmax(dim=1)
        residual[torch.arange(len(labels)), labels] -= 1
        self.alpha = -residual / (2 * penalty * len(labels))

    def influence(self, features_t: Tensor, label: int) -> Tensor:
        """What each training point adds to the logit of a class for one input `[D]`: float64 `[N]`."""
        return self.alpha[:, label] * (self._features @ features_t)

    def logits(self, features_t: Tensor) -> Tensor:
        """The fitted layer's logits `[K]` of one input."""
        return self.theta @ features_t


def _fit(features: Tensor, labels: Tensor, classes: int, penalty: float) -> Tensor:
    theta = torch.zeros(classes, features.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [theta],
        max_iter=_STEPS,
        max_eval=2 * _STEPS,
        tolerance_grad=1e-10,
        tolerance_change=1e-14,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(features @ theta.T, labels) + penalty * theta.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return theta.detach()
