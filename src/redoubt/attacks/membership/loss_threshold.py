"""The loss itself (Yeom et al. 2018, "Privacy risk in machine learning", adversary 1): members have the lower loss.

Not covered: that some records are easy for every model.  It is the weakest of all, and catches hardly anybody at a low
false-positive rate; it takes nothing but one answer per record.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from redoubt.attacks.membership.base import MembershipAttack, View, confidences
from redoubt.attacks.membership.confidence import log_probability
from redoubt.records import Access


@dataclass(frozen=True)
class LossThreshold(MembershipAttack):
    """Minus the cross-entropy loss of the target at the record."""

    name: ClassVar[str] = "loss-threshold"
    needs: ClassVar[Access] = Access.SCORES
    shadowed: ClassVar[bool] = False

    def scores(self, view: View) -> Tensor:
        return log_probability(confidences(view)[:, 0])
