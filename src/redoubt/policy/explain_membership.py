"""A requirement of the membership game in plain sentences."""

from redoubt.policy.membership_strategies import WITHOUT_SHADOWS, playable_membership
from redoubt.policy.samples import others_to_convict
from redoubt.policy.sources import scheme_of
from redoubt.records import MembershipRequirement, Policy
from redoubt.records.membership import FALSE_ALARMS


def explain_membership(requirement: MembershipRequirement, policy: Policy) -> str:
    """The whole paragraph."""
    bound = requirement.require
    members, others = requirement.members or policy.data.train, requirement.others or policy.data.test
    names = playable_membership(requirement, policy)
    trained = members.source if members else "nothing"
    rate = FALSE_ALARMS.get(bound.measure)
    if rate is None:
        claim = (
            f"shown one of each, it must be right about which one that was with a probability of at most "
            f"{100 * bound.value:.4g} %; guessing has 50 %."
        )
    else:
        claim = (
            f"it must recognise at most {100 * bound.value:.4g} % of the former while it takes {100 * rate:g} % of the "
            "latter for one of them."
        )
    return (
        f"Requirement {requirement.id}: {requirement.adversary} is shown records that the model was trained on "
        f"({trained}) and others ({others.source}); {claim} Strategies: {', '.join(names)}."
        f"{_shadows(requirement, policy)}{_enough(rate, len(names))}"
    )


def _shadows(requirement: MembershipRequirement, policy: Policy) -> str:
    if set(playable_membership(requirement, policy)) <= WITHOUT_SHADOWS:
        return " None of them takes models of its own."
    recipe = requirement.shadows
    source = recipe.source or policy.model.source
    learnt = "" if scheme_of(source) == "sklearn" else f", {recipe.epochs:,} epochs each"
    return (
        f" For them {requirement.adversary} trains {recipe.models:,} models of its own ({source}{learnt}), each on a "
        "random half of all these records; how like the model they are decides how much they tell."
    )


def _enough(rate: float | None, strategies: int) -> str:
    if rate is None or not strategies:
        return ""
    least = others_to_convict(rate, strategies)
    return (
        f" With fewer than {least:,} others no violation can be shown: not even a threshold that none of them reaches "
        "is then known to keep so few false alarms."
    )
