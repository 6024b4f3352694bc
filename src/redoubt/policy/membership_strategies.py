"""Which strategies of the membership game can be played: by that adversary, against that source, on those inputs."""

from typing import get_args

from redoubt.policy.sources import scheme_of
from redoubt.records import Access, Adversary, MembershipRequirement, Policy
from redoubt.records.membership import MembershipStrategy

MEMBERSHIP: tuple[MembershipStrategy, ...] = get_args(MembershipStrategy)
ONLY_LABELS: frozenset[MembershipStrategy] = frozenset({"label-augmentation", "label-noise"})
WITHOUT_SHADOWS: frozenset[MembershipStrategy] = ONLY_LABELS | {"loss-threshold"}


def membership_refusal(
    strategy: MembershipStrategy, requirement: MembershipRequirement, adversary: Adversary, policy: Policy
) -> tuple[str, str] | None:
    """Why that strategy cannot be played, and the remedy; None if it can."""
    if strategy not in ONLY_LABELS and adversary.access < Access.SCORES:
        return f"{strategy} needs scores, and this adversary observes labels only", "give it observes: scores"
    if strategy == "label-augmentation" and len(policy.model.input.shape) != 3:
        shape = list(policy.model.input.shape)
        return f"label-augmentation shifts images, and the inputs are {shape}", "use label-noise"
    if strategy not in WITHOUT_SHADOWS and not knows_what_to_train(requirement, policy):
        return (
            f"{strategy} takes shadow models, and a source of {scheme_of(policy.model.source)}: does not tell what to "
            "train",
            "write under shadows source: torch:<module>:<factory> or sklearn:<Estimator>",
        )
    return None


def knows_what_to_train(requirement: MembershipRequirement, policy: Policy) -> bool:
    """Whether the policy, or the model's own source, says what a shadow model is."""
    return requirement.shadows.source is not None or scheme_of(policy.model.source) in ("torch", "sklearn")


def playable_membership(requirement: MembershipRequirement, policy: Policy) -> tuple[MembershipStrategy, ...]:
    """The strategies that a requirement is played with, in their order."""
    adversary = policy.adversaries[requirement.adversary]
    named = requirement.strategies or MEMBERSHIP
    return tuple(
        name for name in MEMBERSHIP if name in named and not membership_refusal(name, requirement, adversary, policy)
    )
