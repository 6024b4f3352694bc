"""The student: learns from few answers and many public inputs without one, and is all that is ever released."""

from dataclasses import dataclass

import torch
from torch import Tensor

from redoubt.records import DataError


@dataclass(frozen=True)
class Student:
    """Kernel least squares on features: `k(a, b) = exp(-|a - b|^2 / width)`.

    Attributes:
        anchors: float32 `[n, D]`, the inputs it learnt from.
        weight: `[n, K]`.
        width: above 0.
    """

    anchors: Tensor
    weight: Tensor
    width: float

    def scores(self, x: Tensor) -> Tensor:
        """Features `[B, ...]` to scores `[B, K]`."""
        blocks = [_kernel(part, self.anchors, self.width) @ self.weight for part in torch.split(x.flatten(1), 1024)]
        return torch.cat(blocks)

    def accuracy(self, x: Tensor, y: Tensor) -> float:
        """Share of rows answered rightly."""
        return float((self.scores(x).argmax(1) == y).double().mean())


def learn(
    x: Tensor,
    labels: Tensor,
    classes: int,
    *,
    ridge: float = 0.02,
    rounds: int = 2,
    sure: float = 0.5,
    reach: float = 1.0,
) -> Student:
    """Supervised on what was answered, then self-training on the rest (Scudder 1965; Lee 2013).

    In each round the inputs without an answer whose best score leads the second by `sure` are learnt from under the
    label that the student gives them.  An answered input keeps its answer.  Nothing here looks at a
    private record: it costs no privacy.

    Args:
        x: public features, `[Q, ...]`.
        labels: int64 `[Q]`, -1 without an answer.
        classes: K.
        ridge: the penalty; the kernel's diagonal is 1.
        rounds: of self-training; 0 is supervised only.
        sure: in 0..1.
        reach: the kernel's width, in median squared distances.

    Raises:
        DataError: nothing was answered.
    """
    flat, known = x.flatten(1), labels >= 0
    if not bool(known.any()):
        raise DataError("the teachers answered nothing", remedy="lower the threshold, or ask more")
    some = flat[:: max(1, len(flat) // 500)]
    width = reach * float(squares(some, some).median())
    student = fitted(flat[known], labels[known], classes, width, ridge)
    for _ in range(rounds):
        scores = student.scores(flat)
        best = scores.topk(2, dim=1)
        taken = known | (best.values[:, 0] - best.values[:, 1] >= sure)
        student = fitted(flat[taken], torch.where(known, labels, best.indices[:, 0])[taken], classes, width, ridge)
    return student


def fitted(x: Tensor, y: Tensor, classes: int, width: float, ridge: float) -> Student:
    """Kernel least squares on `[n, D]` and labels `[n]`."""
    goal = torch.eye(classes)[y] - 1 / classes
    gram = torch.cat([_kernel(part, x, width) for part in torch.split(x, 1024)])
    gram.diagonal().add_(ridge)
    return Student(x, torch.cholesky_solve(goal, torch.linalg.cholesky(gram)), width)


def _kernel(a: Tensor, b: Tensor, width: float) -> Tensor:
    return squares(a, b).div_(-width).exp_()


def squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances of rows `[n, D]` and `[m, D]`, `[n, m]`."""
    return torch.addmm(b.square().sum(1), a, b.T, alpha=-2).add_(a.square().sum(1, keepdim=True)).clamp_min_(0)
