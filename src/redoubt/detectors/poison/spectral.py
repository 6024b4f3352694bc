"""Spectral signatures: poison leaves a direction in its class's features (Tran, Li and Madry 2018)."""

import torch
from torch import Tensor

from redoubt.detectors.poison.seen import Trained


def spectral_scores(trained: Trained) -> Tensor:
    """Squared share of each example in the first singular direction of its class's centred features (algorithm 1).

    What is not covered: poison whose features are spread among those of its class, such as adaptive blend; classes of
    which poison is the greater part; poison that is no more than a few rows; and classes that vary more by nature than
    poison makes them vary, as handwriting does, for which there is `spectre_scores`.

    Returns:
        float64 `[N]`; compare within a class only.  A class of one has the score 0.
    """
    scores = torch.zeros(len(trained), dtype=torch.float64)
    for _, rows in trained.classes():
        centred = trained.features[rows].double()
        centred = centred - centred.mean(dim=0)
        _, vectors = torch.linalg.eigh(centred.T @ centred)
        scores[rows] = (centred @ vectors[:, -1]).square()
    return scores


def spectral_removal(trained: Trained, expected: float) -> Tensor:
    """Which examples to take out: of every class, the 1.5 x `expected` with the highest scores (algorithm 1).

    Args:
        trained: the training set as the model sees it.
        expected: an upper bound on how many rows of a class are poison, as a share of that class.  Every class loses
            half as many again, poisoned or not.

    Returns:
        bool `[N]`.
    """
    return removed(trained, spectral_scores(trained), expected)


def removed(trained: Trained, scores: Tensor, expected: float) -> Tensor:
    """Of every class, the 1.5 x `expected` with the highest scores, bool `[N]`."""
    out = torch.zeros(len(trained), dtype=torch.bool)
    for _, rows in trained.classes():
        count = min(round(1.5 * expected * len(rows)), len(rows))
        out[rows[scores[rows].argsort(descending=True)[:count]]] = True
    return out
