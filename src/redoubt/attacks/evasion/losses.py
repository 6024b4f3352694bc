"""What evasion attacks maximise.  Each takes logits `[B, K]` and labels `[B]`, and gives a loss `[B]`: higher is better
for the attacker, and every one but cross-entropy and the log-probability is positive exactly where the answer is wrong.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Minus the log-probability of the true class.  Flat (gradient zero) where float32 rounds it to 0."""
    return F.cross_entropy(logits, y, reduction="none")


def wrong_log_probability(logits: Tensor, y: Tensor) -> Tensor:
    """Log-probability of any wrong class; its slope dies down where the answer is wrong already.

    So an average over many inputs or outcomes is spent on those that still hold, where cross-entropy would go on about
    those that fell.
    """
    wrong = logits.scatter(1, y[:, None], -torch.inf).logsumexp(dim=1)
    return wrong - logits.logsumexp(dim=1)


def _of(logits: Tensor, y: Tensor) -> Tensor:
    return logits.gather(1, y[:, None]).squeeze(1)


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """The best wrong logit minus the true one (Carlini and Wagner 2017, f6)."""
    wrong = logits.scatter(1, y[:, None], -torch.inf).amax(dim=1)
    return wrong - _of(logits, y)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Difference of logits ratio (Croce and Hein 2020, eq. 6): the margin over the gap between 1st and 3rd logit.

    Invariant to shift and scale of the logits.  With two classes there is no third logit and every function of the
    margin that ignores scale is constant on each side, so the plain margin is used; sign and normalised steps do not
    mind the scale.
    """
    if logits.shape[1] < 3:
        return margin(logits, y)
    top = logits.topk(3, dim=1).values
    return margin(logits, y) / (top[:, 0] - top[:, 2] + 1e-12)


def dlr_targeted(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """DLR towards a class (Croce and Hein 2020, eq. 7): (z_t - z_y) / (z_1st - (z_3rd + z_4th) / 2).

    With three classes there is no 4th, and over z_1st - z_3rd the loss towards the 3rd would be constant, so the mean
    is taken over 2nd and 3rd; with two classes this is the margin, as in `dlr`.

    Args:
        logits: `[B, K]`.
        y: true classes `[B]`.
        target: wrong classes `[B]`.
    """
    gap = _of(logits, target) - _of(logits, y)
    classes = logits.shape[1]
    if classes < 3:
        return gap
    top = logits.topk(min(classes, 4), dim=1).values
    return gap / (top[:, 0] - top[:, -2:].mean(dim=1) + 1e-12)
