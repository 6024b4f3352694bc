"""The games as the policy language knows them: one line each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from redoubt.policy.crosscheck_backdoor import check_backdoor
from redoubt.policy.crosscheck_evasion import check_moves, check_strategies
from redoubt.policy.crosscheck_membership import check_membership
from redoubt.policy.crosscheck_poisoning import check_poisoning
from redoubt.policy.explain_backdoor import explain_backdoor
from redoubt.policy.explain_evasion import explain_evasion
from redoubt.policy.explain_membership import explain_membership
from redoubt.policy.explain_poisoning import explain_poisoning
from redoubt.policy.explain_privacy import explain_privacy
from redoubt.policy.memorisation import check_memorisation, explain_memorisation
from redoubt.policy.problems import Wrong
from redoubt.records import (
    Adversary,
    BackdoorRequirement,
    EvasionRequirement,
    MembershipRequirement,
    MemorisationRequirement,
    PoisoningRequirement,
    Policy,
    PrivacyRequirement,
    Requirement,
)

Kind: TypeAlias = Any
"""The requirement's own record: each function below takes that of its game."""


def _nothing(_: Requirement, __: Policy) -> Iterator[Wrong]:
    return iter(())


def _nobody_in_particular(_: Requirement, __: Adversary, ___: Policy) -> Iterator[Wrong]:
    return iter(())


@dataclass(frozen=True)
class GamePolicy:
    """What is said of the requirements of one game.  Paths of what is wrong are within the requirement.

    Attributes:
        explain: the paragraph of plain sentences.
        plays: what is wrong, given its adversary.
        fits: what is wrong whoever the adversary is.
        sign: what shows that strategies failed for another reason than the model's strength, after "where".
    """

    explain: Callable[[Kind, Policy], str]
    plays: Callable[[Kind, Adversary, Policy], Iterator[Wrong]]
    fits: Callable[[Kind, Policy], Iterator[Wrong]] = _nothing
    sign: str = ""


POLICIES: dict[type[Requirement], GamePolicy] = {
    EvasionRequirement: GamePolicy(
        explain_evasion, check_strategies, check_moves, "attacks show that they failed for want of a usable gradient"
    ),
    MembershipRequirement: GamePolicy(
        explain_membership,
        check_membership,
        sign="shadow models are unlike the model, or the records differ without it",
    ),
    BackdoorRequirement: GamePolicy(
        explain_backdoor,
        check_backdoor,
        sign="the search for triggers shows that it failed for want of a usable gradient",
    ),
    PoisoningRequirement: GamePolicy(
        explain_poisoning, check_poisoning, sign="victims of clean data are unlike the model"
    ),
    MemorisationRequirement: GamePolicy(explain_memorisation, check_memorisation, sign="samples repeat one another"),
    PrivacyRequirement: GamePolicy(explain_privacy, _nobody_in_particular),
}
