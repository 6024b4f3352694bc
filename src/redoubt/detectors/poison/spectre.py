"""SPECTRE: poison stands out once what a class varies in by nature is whitened away (Hayase et al. 2021).

A class's own greatest variation, the slant of a digit say, can be greater than what poison adds; then the first
singular direction is that, and spectral signatures remove slanted digits.  With the covariance of the class without
its outliers as the measure, poison is what is left.

For each class and each k of several:
1. the first k principal components of its features
2. mean and covariance of most of the rows, by concentration steps (minimum covariance determinant, Rousseeuw and Van
   Driessen 1999, in the stead of the paper's filter): drop the farthest, estimate again, until nothing changes
3. whiten all rows by it; the quantum entropy score of each is x' M x, where M = exp(4 (S - I) / (|S| - 1)) / trace
   and S is the covariance of all whitened rows
Of the k, the one is taken by which the rows that would be removed stand out most from the others.
"""

import torch
from torch import Tensor

from redoubt.detectors.poison.seen import Trained
from redoubt.detectors.poison.spectral import removed

_DIMENSIONS = (1, 2, 4, 9, 16, 25, 36, 49, 64)  # of the paper's code
_ALPHA = 4.0
_STEPS = 20


def spectre_scores(trained: Trained, expected: float) -> Tensor:
    """How much each example stands out from its class after whitening.

    What is not covered: classes of which poison is more than about a third, whose covariance it makes; classes with
    fewer rows than three times the dimensions, for which fewer are compared; poison that is no more than a few rows.

    Args:
        trained: the training set as the model sees it.
        expected: an upper bound on how many rows of a class are poison, as a share of that class, below 0.5.

    Returns:
        float64 `[N]`; compare within a class only.  A class of fewer than 8 rows has the score 0.

    Raises:
        ValueError: the share is not between 0 and 0.5.
    """
    if not 0 < expected < 0.5:
        raise ValueError(f"a share of {expected:g} of a class is no minority of it")
    scores = torch.zeros(len(trained), dtype=torch.float64)
    for _, rows in trained.classes():
        if len(rows) >= 8:
            scores[rows] = _of_class(trained.features[rows].flatten(1).double(), expected)
    return scores


def spectre_removal(trained: Trained, expected: float) -> Tensor:
    """Which examples to take out, bool `[N]`: of every class, the 1.5 x `expected` with the highest scores."""
    return removed(trained, spectre_scores(trained, expected), expected)


def _of_class(features: Tensor, expected: float) -> Tensor:
    centred = features - features.mean(dim=0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    rank = int((values > 1e-9 * values.max()).sum())
    best, scores = -1.0, torch.zeros(len(features), dtype=torch.float64)
    for k in _DIMENSIONS:
        if k > min(rank, len(features) // 3):
            break
        points = centred @ vectors.flip(1)[:, :k]
        kept = _concentrated(points, expected)
        found = _entropy_scores(_whitened(points, kept))
        out = torch.zeros(len(points), dtype=torch.bool)
        out[found.argsort(descending=True)[: round(1.5 * expected * len(points))]] = True
        apart = _entropy(_whitened(points, ~out))
        if apart > best:
            best, scores = apart, found
    return scores


def _concentrated(points: Tensor, expected: float) -> Tensor:
    """The rows nearest to their own mean by their own covariance, bool `[n]`: all but 2 x `expected`, at least half."""
    count = max(round((1 - 2 * expected) * len(points)), len(points) // 2 + 1)
    kept = torch.ones(len(points), dtype=torch.bool)
    for _ in range(_STEPS):
        now = torch.zeros_like(kept)
        now[_whitened(points, kept).square().sum(dim=1).argsort()[:count]] = True
        if torch.equal(now, kept):
            break
        kept = now
    return kept


def _whitened(points: Tensor, by: Tensor) -> Tensor:
    """All rows, whitened by mean and covariance of some of them."""
    middle = points[by].mean(dim=0)
    own = points[by] - middle
    spread = own.T @ own / len(own)
    values, vectors = torch.linalg.eigh(spread)
    floor = 1e-9 * float(values.max().clamp_min(1e-30))
    white: Tensor = (points - middle) @ vectors / values.clamp_min(floor).sqrt()
    return white


def _weights(spread: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues and eigenvectors of S, and the eigenvalues of M, which add up to 1."""
    values, vectors = torch.linalg.eigh(spread)
    above = (values - 1) / (values.max() - 1).abs().clamp_min(1e-9)
    return values, vectors, (_ALPHA * (above - above.max())).softmax(dim=0)


def _entropy_scores(white: Tensor) -> Tensor:
    """X' M x of each row."""
    _, vectors, weights = _weights(white.T @ white / len(white))
    scores: Tensor = (white @ vectors).square() @ weights
    return scores


def _entropy(white: Tensor) -> float:
    """The mean of the scores: how far all rows lie, by the measure of those that were kept."""
    values, _, weights = _weights(white.T @ white / len(white))
    return float(values @ weights)
