"""A requirement of the poisoning game in plain sentences."""

from redoubt.policy.poisoning_strategies import FLIPS, playable_poisoning, share_of
from redoubt.policy.sources import scheme_of
from redoubt.policy.words import percent
from redoubt.records import PoisoningRequirement, Policy


def explain_poisoning(requirement: PoisoningRequirement, policy: Policy) -> str:
    """The whole paragraph."""
    train = requirement.train or policy.data.train
    bound, names = requirement.require, playable_poisoning(requirement)
    recipe = requirement.victims
    source = recipe.source or policy.model.source
    learnt = "" if scheme_of(source) == "sklearn" else f", {recipe.epochs:,} epochs"
    several = f"{recipe.models:,} victims are" if recipe.models > 1 else "a victim is"
    if bound.measure == "accuracy_drop":
        game = (
            f"On such data {several} trained from scratch ({source}{learnt}); accuracy on {policy.data.test.source} "
            f"must fall by at most {percent(bound.value)}, compared with victims of clean data."
        )
    else:
        game = (
            f"{requirement.targets:,} inputs of {policy.data.test.source} are its targets, one at a time, to be "
            f"answered as the model's second choice; on the poison for each of them {several} trained from scratch "
            f"({source}{learnt}). At most {percent(bound.value)} may answer as it wants."
        )
    return (
        f"Requirement {requirement.id}: {requirement.adversary} may change {percent(share_of(requirement, policy))} of "
        f"what a model is trained on ({train.source if train else 'nothing'}), {_how(requirement)}, and knows the rest "
        f"and the recipe. {game} Strategies: {', '.join(names)}.{_check(requirement)}"
    )


def _how(requirement: PoisoningRequirement) -> str:
    radius = requirement.radius
    moved = "inputs within their range" if radius is None else f"each value of an input by at most {radius:g}"
    if requirement.labels == "kept":
        return f"{moved}, but no label"
    if set(playable_poisoning(requirement)) <= FLIPS:
        return "by giving rows wrong labels"
    return f"{moved}, or labels"


def _check(requirement: PoisoningRequirement) -> str:
    if requirement.neighbours is None:
        return ""
    return (
        f" Before that, rows are left out whose label is not the most frequent among their {requirement.neighbours:,} "
        "nearest rows. Each strategy is played by an adversary who knows that, and by one who does not; the worse "
        "counts."
    )
