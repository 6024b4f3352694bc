"""The likelihood-ratio attack (Carlini et al. 2022, "Membership inference attacks from first principles").

For each record, shadow models that were trained on it and such that were not give two samples of scaled confidences.
Both are taken for Gaussian, and the target's own confidence is weighed between them (algorithm 1); or, where nobody can
train on the record beforehand, against the models without it alone (section 6.3, offline).

Means and variances are per record; below `enough` models on a side, one variance is shared by all records, which the
paper recommends for few shadow models.  Here it is the mean of the records' own, unbiased, variances.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from redoubt.attacks.membership.base import MembershipAttack, View, confidences, shadows
from redoubt.records import Access

LEAST_VARIANCE = 1e-6
_LOG_2PI = math.log(2 * math.pi)


def moments(confidence: Tensor, chosen: Tensor, shared: bool) -> tuple[Tensor, Tensor]:
    """Mean and variance of each record's confidences over the chosen models.

    Args:
        confidence: float64 `[M, N]`.
        chosen: bool `[M, N]`, at least two models for each record.
        shared: whether all records share one variance.

    Returns:
        `[N]` and `[N]`, the variances at least LEAST_VARIANCE.
    """
    weight = chosen.double()
    count = weight.sum(dim=0)
    mean = (confidence * weight).sum(dim=0) / count
    variance = ((confidence - mean).square() * weight).sum(dim=0) / (count - 1)
    if shared:
        variance = variance.mean().expand_as(mean)
    return mean, variance.clamp_min(LEAST_VARIANCE)


def lira_online(target: Tensor, confidence: Tensor, inside: Tensor, *, enough: int = 32) -> Tensor:
    """Log-likelihood ratio of "trained on it" against "not" (algorithm 1).

    Args:
        target: scaled confidences of the target, float64 `[N]`.
        confidence: those of M shadow models, `[M, N]`.
        inside: bool `[M, N]`; each record at least twice in and twice out.
        enough: models on a side from which on each record has a variance of its own.

    Returns:
        float64 `[N]`.
    """
    shared = int(inside.sum(dim=0).min()) < enough
    (in_mean, in_variance), (out_mean, out_variance) = (
        moments(confidence, chosen, shared) for chosen in (inside, ~inside)
    )
    return _log_density(target, in_mean, in_variance) - _log_density(target, out_mean, out_variance)


def lira_offline(target: Tensor, confidence: Tensor, inside: Tensor, *, enough: int = 32) -> Tensor:
    """Standard score of the target's confidence among models that were not trained on the record.

    The paper's statistic is `1 - Pr[Z > target]`, the normal distribution function of this; it orders records alike.
    """
    shared = int((~inside).sum(dim=0).min()) < enough
    mean, variance = moments(confidence, ~inside, shared)
    return (target - mean) / variance.sqrt()


def _log_density(value: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return -0.5 * ((value - mean).square() / variance + variance.log() + _LOG_2PI)


@dataclass(frozen=True)
class LiRA(MembershipAttack):
    """LiRA, with the record itself as the only query.

    `enough`: models on a side from which on each record has a variance of its own.
    """

    enough: int = 32

    name: ClassVar[str] = "lira"
    needs: ClassVar[Access] = Access.SCORES
    shadowed: ClassVar[bool] = True

    def scores(self, view: View) -> Tensor:
        own = shadows(view, 2)
        return lira_online(confidences(view)[:, 0], own.confidence, own.inside, enough=self.enough)


@dataclass(frozen=True)
class OfflineLiRA(MembershipAttack):
    """LiRA of an adversary who trained the shadow models before the records were known."""

    enough: int = 32

    name: ClassVar[str] = "lira-offline"
    needs: ClassVar[Access] = Access.SCORES
    shadowed: ClassVar[bool] = True

    def scores(self, view: View) -> Tensor:
        own = shadows(view, 2)
        return lira_offline(confidences(view)[:, 0], own.confidence, own.inside, enough=self.enough)
