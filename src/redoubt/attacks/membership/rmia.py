"""The robust membership attack (Zarifzadeh et al. 2024, "Low-cost high-power membership inference attacks").

Each record x is compared with other records z: how often does knowing the target raise the likelihood of x by more, by
a factor of at least gamma, than that of z?  The likelihood without the target is the mean over shadow models: of all
of them if they were trained on x as often as not (online), or estimated from those without x (offline).

The records z are here the records under test themselves, since a policy names no others.  With gamma = 1 the score is
then the rank of x, and no two records are tied at the top, where a low false-positive rate is decided.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from redoubt.attacks.membership.base import MembershipAttack, View, confidences, shadows
from redoubt.attacks.membership.confidence import log_probability
from redoubt.records import Access


def log_likelihood_online(log_p: Tensor) -> Tensor:
    """`log Pr(x)` as the mean over all shadow models, half of which were trained on x: `[M, N]` to `[N]`."""
    return log_p.logsumexp(dim=0) - math.log(len(log_p))


def log_likelihood_offline(log_p: Tensor, inside: Tensor, a: float) -> Tensor:
    """`log Pr(x)` from the models without x: `((1 + a) p_out + (1 - a)) / 2`."""
    without = log_p.masked_fill(inside, -torch.inf).logsumexp(dim=0) - (~inside).sum(dim=0).double().log()
    return torch.log(((1 + a) * without.exp() + (1 - a)) / 2)


def rmia(target: Tensor, likelihood: Tensor, population: Tensor, *, gamma: float = 1.0) -> Tensor:
    """Share of the records z for which `ratio(x) / ratio(z) >= gamma`, `ratio = Pr(. | target) / Pr(.)`.

    Args:
        target: `log Pr(x | target)`, float64 `[N]`.
        likelihood: `log Pr(x)`, `[N]`.
        population: log-ratios of the records z, `[Z]`.
        gamma: at least 1.

    Returns:
        float64 `[N]` in 0..1.
    """
    ordered = population.sort().values
    reach = target - likelihood - math.log(gamma)
    return torch.searchsorted(ordered, reach, right=True).double() / len(ordered)


@dataclass(frozen=True)
class RMIA(MembershipAttack):
    """RMIA with shadow models of which each record is in half.

    `gamma`: by how much x must be raised more than z.
    """

    gamma: float = 1.0

    name: ClassVar[str] = "rmia"
    needs: ClassVar[Access] = Access.SCORES
    shadowed: ClassVar[bool] = True

    def scores(self, view: View) -> Tensor:
        own = shadows(view, 1)
        return _ranked(view, log_likelihood_online(log_probability(own.confidence)), self.gamma)


@dataclass(frozen=True)
class OfflineRMIA(MembershipAttack):
    """RMIA of an adversary whose shadow models never saw the record.

    `a`: how far the likelihood of a model with the record is taken to lie between that of one without it and 1; the
    paper takes 0.3 to 1, the less the more models overfit.
    """

    gamma: float = 1.0
    a: float = 0.3

    name: ClassVar[str] = "rmia-offline"
    needs: ClassVar[Access] = Access.SCORES
    shadowed: ClassVar[bool] = True

    def scores(self, view: View) -> Tensor:
        own = shadows(view, 1)
        likelihood = log_likelihood_offline(log_probability(own.confidence), own.inside, self.a)
        return _ranked(view, likelihood, self.gamma)


def _ranked(view: View, likelihood: Tensor, gamma: float) -> Tensor:
    target = log_probability(confidences(view)[:, 0])
    return rmia(target, likelihood, target - likelihood, gamma=gamma)
