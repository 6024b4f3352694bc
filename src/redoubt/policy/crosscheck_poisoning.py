"""What cannot be meant in a requirement of the poisoning game."""

from collections.abc import Iterator

from redoubt.policy.poisoning_strategies import knows_victims, playable_poisoning, poisoning_refusal
from redoubt.policy.problems import Wrong
from redoubt.policy.sources import check_scheme, scheme_of
from redoubt.records import Adversary, PoisoningRequirement, Policy


def check_poisoning(requirement: PoisoningRequirement, _: Adversary, policy: Policy) -> Iterator[Wrong]:
    """Everything wrong, by its path within the requirement."""
    if requirement.train is None and policy.data.train is None:
        yield (
            ("game",),
            "poisoning needs data that victims are trained on, and data has no 'train'",
            "add train under data, or to the requirement",
        )
    found = check_scheme(requirement.train.source, "data") if requirement.train else None
    if found:
        yield ("train", "source"), *found
    refused = [poisoning_refusal(name, requirement) for name in requirement.strategies or ()]
    for number, one in enumerate(refused):
        if one:
            yield ("strategies", number), *one
    if not any(refused) and not playable_poisoning(requirement):
        yield (
            ("labels",),
            "labels are kept, and accuracy_drop is played by changing labels",
            "write labels: any, or require targets_flipped",
        )
    yield from _idle(requirement)
    yield from _victims(requirement, policy)


def _idle(requirement: PoisoningRequirement) -> Iterator[Wrong]:
    """Keys that have no effect beside the others."""
    if requirement.require.measure == "accuracy_drop":
        for key in ("targets", "radius"):
            if key in requirement.model_fields_set:
                yield (key,), f"{key} has no effect on accuracy_drop", f"remove {key}, or require targets_flipped"


def _victims(requirement: PoisoningRequirement, policy: Policy) -> Iterator[Wrong]:
    recipe = requirement.victims
    kind = scheme_of(recipe.source or policy.model.source)
    if recipe.source is not None:
        found = check_scheme(recipe.source, "model") if kind in ("torch", "sklearn") else None
        if kind not in ("torch", "sklearn") or found:
            yield (
                ("victims", "source"),
                f"'{recipe.source}' is nothing that can be trained",
                "write torch:<module>:<factory> or sklearn:<Estimator>",
            )
    elif not knows_victims(requirement, policy):
        yield (
            ("game",),
            f"a source of {kind}: does not tell what is to be trained",
            "write victims: {source: torch:<module>:<factory>} or {source: sklearn:<Estimator>}",
        )
    elif kind == "sklearn":
        for key in ("epochs", "batch", "optimizer", "learning_rate", "weight_decay"):
            if key in recipe.model_fields_set:
                yield ("victims", key), f"{key} has no effect on a scikit-learn estimator", f"remove {key}"
    elif recipe.parameters:
        yield ("victims", "parameters"), "parameters belong to a scikit-learn estimator", "remove parameters"
