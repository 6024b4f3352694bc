"""TracIn (Pruthi et al. 2020) of the last layer, at the model as it is served."""

import torch
from torch import Tensor


def tracin(
    logits: Tensor, features: Tensor, labels: Tensor, logits_t: Tensor, features_t: Tensor, label: int
) -> Tensor:
    """How much a step on each training point would lower the loss of an answer: float64 `[N]`.

    The gradient of the cross-entropy by a last linear layer is (p - e_y) h^T, so that the product of two of them is
    (p_i - e_yi) . (p_t - e_c) times h_i . h_t (section 4.2 of the paper, with one checkpoint and without the learning
    rate, which is the same for all).  A point above 0 supports the answer, one below 0 speaks against it.

    Args:
        logits: of the training points, float64 `[N, K]`.
        features: what goes into the layer, with a one for the bias, `[N, D]`.
        labels: int64 `[N]`.
        logits_t: of the one input, `[K]`.
        features_t: `[D]`.
        label: c, what was answered.

    Not covered: the layers below, through which a training point may have acted as well; checkpoints of the training
    that nobody kept.  Points that the model has learnt to certainty have hardly a gradient left, and no influence here.
    """
    residual = logits.softmax(dim=1)
    residual[torch.arange(len(labels)), labels] -= 1
    own = logits_t.softmax(dim=0)
    own[label] -= 1
    return (residual @ own) * (features @ features_t)
