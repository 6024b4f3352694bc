"""A requirement of the privacy game in plain sentences."""

from redoubt.records import Policy, PrivacyRequirement


def explain_privacy(requirement: PrivacyRequirement, _: Policy) -> str:
    """The whole paragraph."""
    bound = requirement.require
    whose = "every record" if requirement.group == "everyone" else f"every record of the group {requirement.group}"
    audit = (
        "No audit is named, so nothing checks that the training did what its ledger says."
        if requirement.audit is None
        else f"The audit in {requirement.audit} is held against it: if it found a lower bound above {bound.value:g}, "
        "this is violated; if it found more than the ledger claims, the ledger proves nothing, and this is undecided."
    )
    return (
        f"Requirement {requirement.id}: for {whose}, all that the training released must be ({bound.value:g}, "
        f"{bound.delta:g})-differentially private. What it did stands in {requirement.ledger}; accountants add it up, "
        "and if their epsilon is at most the bound, this is proved against every strategy of every adversary, whatever "
        f"{requirement.adversary} knows, given that the training did what stands there. Else it is undecided: an upper "
        f"bound that is too high shows no leak. {audit}"
    )
