"""Which strategies of the poisoning game can be played: for that measure, with labels that may be changed or not."""

from typing import get_args

from redoubt.policy.sources import scheme_of
from redoubt.records import PoisoningRequirement, Policy
from redoubt.records.poisoning import SHARE, PoisoningStrategy

POISONING: tuple[PoisoningStrategy, ...] = get_args(PoisoningStrategy)
FLIPS: frozenset[PoisoningStrategy] = frozenset({"chosen-flips", "random-flips"})


def poisoning_refusal(strategy: PoisoningStrategy, requirement: PoisoningRequirement) -> tuple[str, str] | None:
    """Why that strategy cannot be played, and the remedy; None if it can."""
    if strategy in FLIPS and requirement.labels == "kept":
        return f"{strategy} changes labels, and labels are kept", "leave it out, or write labels: any"
    if strategy not in FLIPS and requirement.require.measure == "accuracy_drop":
        return f"{strategy} is for one prediction at a time", "require targets_flipped, or name a strategy that flips"
    return None


def share_of(requirement: PoisoningRequirement, policy: Policy) -> float:
    """The share of the training data that the adversary may change."""
    return policy.adversaries[requirement.adversary].budget.share or SHARE


def knows_victims(requirement: PoisoningRequirement, policy: Policy) -> bool:
    """Whether the policy, or the model's own source, says what a victim is."""
    return requirement.victims.source is not None or scheme_of(policy.model.source) in ("torch", "sklearn")


def playable_poisoning(requirement: PoisoningRequirement) -> tuple[PoisoningStrategy, ...]:
    """The strategies that a requirement is played with, in their order."""
    named = requirement.strategies or POISONING
    return tuple(name for name in POISONING if name in named and not poisoning_refusal(name, requirement))
