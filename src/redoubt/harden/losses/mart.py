"""MART (Wang et al. 2020, equation 11): what the model gets wrong on clean inputs counts more under attack."""

import torch
import torch.nn.functional as F
from torch import Tensor


def mart(clean: Tensor, worst: Tensor, y: Tensor, beta: float) -> Tensor:
    """The loss `[B]`.

    Boosted cross-entropy on the worst points (cross-entropy plus a margin to the best wrong class), and the divergence
    between clean and worst answers, weighted by how unsure the model is of the clean input's class.

    Args:
        clean: logits `[B, K]` of the clean inputs.
        worst: logits `[B, K]` of the worst points.
        y: labels `[B]`.
        beta: weight of the divergence, the paper's lambda.
    """
    row = torch.arange(len(y), device=y.device)
    sure = clean.softmax(dim=1)[row, y]
    attacked = worst.softmax(dim=1)
    wrong = attacked.scatter(1, y[:, None], 0.0).amax(dim=1)
    boosted = F.cross_entropy(worst, y, reduction="none") - (1.0001 - wrong).log()
    moved = F.kl_div(F.log_softmax(worst, dim=1), F.log_softmax(clean, dim=1), reduction="none", log_target=True)
    return boosted + beta * moved.sum(dim=1) * (1.0 - sure)
