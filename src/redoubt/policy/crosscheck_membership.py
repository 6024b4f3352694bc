"""What cannot be meant in a requirement of the membership game."""

from collections.abc import Iterator

from redoubt.policy.membership_strategies import knows_what_to_train, membership_refusal
from redoubt.policy.problems import Wrong
from redoubt.policy.sources import check_scheme, scheme_of
from redoubt.records import Access, Adversary, MembershipRequirement, Policy


def check_membership(requirement: MembershipRequirement, adversary: Adversary, policy: Policy) -> Iterator[Wrong]:
    """Everything wrong, by its path within the requirement."""
    if requirement.members is None and policy.data.train is None:
        yield (
            ("game",),
            "membership needs records that the model was trained on, and data has no 'train'",
            "add train under data, or members to the requirement",
        )
    for key in ("members", "others"):
        source = getattr(requirement, key)
        found = check_scheme(source.source, "data") if source else None
        if found:
            yield (key, "source"), *found
    yield from _shadows(requirement, policy)
    for number, name in enumerate(requirement.strategies or ()):
        refused = membership_refusal(name, requirement, adversary, policy)
        if refused:
            yield ("strategies", number), *refused
    scored = requirement.strategies is None and adversary.access >= Access.SCORES
    if scored and not knows_what_to_train(requirement, policy):
        yield (
            ("game",),
            f"a source of {scheme_of(policy.model.source)}: does not tell what shadow models are to be",
            "write shadows: {source: torch:<module>:<factory>} or {source: sklearn:<Estimator>}; or name "
            "strategies that take none",
        )


def _shadows(requirement: MembershipRequirement, policy: Policy) -> Iterator[Wrong]:
    recipe = requirement.shadows
    source = recipe.source
    kind = scheme_of(source or policy.model.source)
    if source is not None:
        found = check_scheme(source, "model") if kind in ("torch", "sklearn") else None
        if kind not in ("torch", "sklearn") or found:
            yield (
                ("shadows", "source"),
                f"'{source}' is nothing that can be trained",
                "write torch:<module>:<factory> or sklearn:<Estimator>",
            )
    elif kind == "sklearn":
        for key in ("epochs", "batch", "optimizer", "learning_rate", "weight_decay"):
            if key in recipe.model_fields_set:
                yield ("shadows", key), f"{key} has no effect on a scikit-learn estimator", f"remove {key}"
    elif recipe.parameters:
        yield ("shadows", "parameters"), "parameters belong to a scikit-learn estimator", "remove parameters"
