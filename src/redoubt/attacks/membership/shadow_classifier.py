"""A classifier that learns from shadow models how members look (Shokri et al. 2017, section V).

For each class, what shadow models say of records inside and outside their training data teaches a classifier to tell
the two apart; it is then asked about what the target says.  The paper leaves its kind open; here it is a logistic
regression over the scaled confidence, its square and the greatest log-probabilities, fitted by Newton's method to its
one optimum, so that the same answers give the same scores.  It is asked with the true label, as in the paper.

Not covered: that some records are easy for every model; for that see `lira`.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from redoubt.attacks.membership.base import MembershipAttack, View, confidences, shadows
from redoubt.records import Access

_STEPS = 50
_SETTLED = 1e-10


def fit_logistic(features: Tensor, member: Tensor, ridge: float) -> Tensor:
    """Weights of a logistic regression with an L2 penalty on all but the last, by Newton's method with halved steps.

    Args:
        features: float64 `[R, F]`, the last of them 1.
        member: bool `[R]`.
        ridge: weight of half the squared norm, above 0.

    Returns:
        float64 `[F]`.
    """
    truth = member.double()
    penalty = torch.full((features.shape[1],), ridge, dtype=torch.float64)
    penalty[-1] = 1e-9
    weights = torch.zeros(features.shape[1], dtype=torch.float64)

    def cost(at: Tensor) -> Tensor:
        z = features @ at
        return torch.nn.functional.softplus(z).sum() - (z * truth).sum() + 0.5 * (penalty * at.square()).sum()

    now = cost(weights)
    for _ in range(_STEPS):
        p = torch.sigmoid(features @ weights)
        gradient = features.T @ (p - truth) + penalty * weights
        curvature = (features * (p * (1 - p))[:, None]).T @ features + penalty.diag()
        move = torch.linalg.solve(curvature, gradient)
        length = 1.0
        while length > 1e-6 and (then := cost(weights - length * move)) > now:
            length /= 2
        if length <= 1e-6:
            break
        weights, before, now = weights - length * move, now, then
        if before - now < _SETTLED * before.abs():
            break
    return weights


@dataclass(frozen=True)
class ShadowClassifier(MembershipAttack):
    """One logistic regression per class.

    `models`: shadow models that it learns from, at most.  `ridge`: its L2 penalty.
    """

    models: int = 32
    ridge: float = 1.0

    name: ClassVar[str] = "shadow-classifier"
    needs: ClassVar[Access] = Access.SCORES
    shadowed: ClassVar[bool] = True

    def scores(self, view: View) -> Tensor:
        own, target = shadows(view, 1), confidences(view)[:, 0]
        if view.target.greatest is None:
            raise ValueError("the target showed labels only")
        some = slice(0, min(self.models, len(own.inside)))
        learnt = _features(own.confidence[some], own.greatest[some])
        asked = _features(target, view.target.greatest)
        flat = learnt.flatten(0, 1)
        mean, spread = flat.mean(dim=0), flat.std(dim=0).clamp_min(1e-9)
        mean[-1], spread[-1] = 0.0, 1.0
        learnt, asked = (learnt - mean) / spread, (asked - mean) / spread
        scores = torch.empty(len(view.y), dtype=torch.float64)
        for label in sorted(set(view.y.tolist())):
            mine = view.y == label
            weights = fit_logistic(learnt[:, mine].flatten(0, 1), own.inside[some][:, mine].flatten(), self.ridge)
            scores[mine] = asked[mine] @ weights
        return scores


def _features(confidence: Tensor, greatest: Tensor) -> Tensor:
    """`[..., N]` and `[..., N, T]` to `[..., N, T + 3]`, the last of them 1."""
    one = confidence.unsqueeze(-1)
    return torch.cat([one, one.square(), greatest, torch.ones_like(one)], dim=-1)
