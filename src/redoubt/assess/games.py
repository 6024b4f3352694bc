"""The games as an assessment plays them: one line each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

from redoubt.assess.backdoor import conclude_backdoor_plan, plan_backdoor
from redoubt.assess.guarantee import conclude_plan as conclude_guarantee
from redoubt.assess.guarantee import plan_guarantee
from redoubt.assess.membership import conclude_plan, plan_membership
from redoubt.assess.memorisation import conclude_memorisation, plan_memorisation
from redoubt.assess.moves import conclude_moves, plan_moves
from redoubt.assess.poisoning import conclude_poison, plan_poisoning
from redoubt.assess.setting import Setting
from redoubt.records import (
    BackdoorRequirement,
    EvasionRequirement,
    MembershipRequirement,
    MemorisationRequirement,
    PoisoningRequirement,
    PrivacyRequirement,
    Requirement,
    RequirementEvidence,
)

Kind: TypeAlias = Any
"""The game's own requirement, or its own plan, which is a `Played`."""


@dataclass(frozen=True)
class Game:
    """How one game is played within an assessment.

    Attributes:
        plan: from a requirement to its plan, with the chains of tasks that are then executed.
        conclude: from the executed plan to its evidence, and the tensors that go with it by key.
    """

    plan: Callable[[Kind, Setting], Kind]
    conclude: Callable[[Kind, Setting], tuple[RequirementEvidence, dict[str, Tensor]]]


GAMES: dict[type[Requirement], Game] = {
    EvasionRequirement: Game(plan_moves, conclude_moves),
    MembershipRequirement: Game(plan_membership, conclude_plan),
    BackdoorRequirement: Game(plan_backdoor, conclude_backdoor_plan),
    PoisoningRequirement: Game(plan_poisoning, conclude_poison),
    MemorisationRequirement: Game(plan_memorisation, conclude_memorisation),
    PrivacyRequirement: Game(plan_guarantee, conclude_guarantee),
}
