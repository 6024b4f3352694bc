"""How sure a model is of a record's true label, on a scale where the differences between models look Gaussian."""

import torch
from torch import Tensor

LIMIT = 50.0
"""Scaled confidences are held within this distance of 0: a model that says exactly 0 or 1 has none that is finite."""


def scaled_confidence(scores: Tensor, y: Tensor) -> Tensor:
    """`log(p / (1 - p))` of the true label's probability p, without forming 1 - p (Carlini et al. 2022, section 4).

    Args:
        scores: logits or log-probabilities `[..., N, K]`, K >= 2.
        y: true labels, int64 `[N]`.

    Returns:
        float64 `[..., N]` within [-LIMIT, LIMIT]; -LIMIT where a score is not finite, as where a model refused.

    >>> scaled_confidence(torch.tensor([[2.0, 1.0], [0.0, 0.0]]), torch.tensor([0, 1]))
    tensor([1., 0.], dtype=torch.float64)
    """
    logits = scores.double()
    known = logits.isfinite().all(dim=-1)
    logits = logits.nan_to_num(0.0, 0.0, 0.0)
    index = y.to(logits.device).expand(logits.shape[:-1]).unsqueeze(-1)
    own = logits.gather(-1, index).squeeze(-1)
    others = logits.scatter(-1, index, -torch.inf).logsumexp(dim=-1)
    return torch.where(known, own - others, -LIMIT).clamp(-LIMIT, LIMIT)


def log_probability(confidence: Tensor) -> Tensor:
    """`log p` of scaled confidences: minus the cross-entropy loss."""
    return torch.nn.functional.logsigmoid(confidence)


def greatest(scores: Tensor, most: int = 10) -> Tensor:
    """The greatest log-probabilities of each record, falling: float64 `[..., N, min(K, most)]`, none below -LIMIT."""
    logits = scores.double().nan_to_num(0.0, LIMIT, -LIMIT)
    return logits.log_softmax(dim=-1).topk(min(most, logits.shape[-1]), dim=-1).values.clamp_min(-LIMIT)
