"""TracIn: which training examples carried an answer (Pruthi et al. 2020), in closed form for the last layer.

The gradient of the cross-entropy by the last layer's weights and bias is (p - y) outer (h, 1), so the product of two
examples' gradients is that of their errors times that of their features: no backward pass is needed.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from redoubt.detectors.poison.seen import Trained


def influence(trained: Trained, asked: Trained) -> Tensor:
    """How much a step on each training example lowers the loss of each asked example, at this one checkpoint.

    Args:
        trained: N training examples.
        asked: M others, with the labels in question: the *answer*, if one asks what carried it.

    Returns:
        float64 `[M, N]`, for a learning rate of 1: positive where the training example speaks for the label.  Add over
        checkpoints, each times its learning rate.
    """
    return (_errors(asked) @ _errors(trained).T) * (_extended(asked) @ _extended(trained).T)


def self_influence(trained: Trained) -> Tensor:
    """What each training example does for itself, float64 `[N]`: high where nothing else speaks for its label.

    Finds wrong labels that a model has not quite learnt.  What is not covered: poison that is learnt perfectly, which
    needs no more help than clean examples do.
    """
    return _errors(trained).square().sum(dim=1) * _extended(trained).square().sum(dim=1)


def _errors(seen: Trained) -> Tensor:
    logits = seen.logits.double()
    return logits.softmax(dim=1) - F.one_hot(seen.y, logits.shape[1])


def _extended(seen: Trained) -> Tensor:
    return torch.cat([seen.features.double(), torch.ones(len(seen), 1, dtype=torch.float64)], dim=1)
