"""What no single key can tell: names that must exist, sources that must fit; and of each game what it says itself."""

from collections.abc import Callable, Iterator

from redoubt.policy.document import Key
from redoubt.policy.games import POLICIES
from redoubt.policy.guard_check import check_guard
from redoubt.policy.problems import Wrong, did_you_mean, nearest
from redoubt.policy.sources import check_scheme, check_weights, scheme_of
from redoubt.policy.update_check import check_update
from redoubt.records import EvasionRequirement, ModelSource, Place, Policy, PolicyError, StaticModel
from redoubt.records.guard import SecondModel


def cross_check(policy: Policy, place: Callable[..., Place]) -> list[PolicyError]:
    """Everything about a well-formed policy that cannot be meant.

    Args:
        policy: as the schema accepted it.
        place: `place(*keys)`, where in the file the value at that path stands.
    """
    wrong = [*_sources(policy), *_requirements(policy), *_harden(policy), *check_guard(policy), *_seconds(policy)]
    wrong += check_update(policy)
    return [PolicyError(what, place(*path), remedy=remedy) for path, what, remedy in wrong]


def _sources(policy: Policy) -> Iterator[Wrong]:
    model, data = policy.model, policy.data
    found = check_scheme(model.source, "model")
    if found:
        yield ("model", "source"), *found
    elif model.weights is not None:
        found = check_weights(model.weights, model.source)
        if found:
            yield ("model", "weights"), *found
    yield from vouching(model, ("model",))
    for role, source in (("test", data.test), ("train", data.train)):
        found = check_scheme(source.source, "data") if source else None
        if found:
            yield ("data", role, "source"), *found


def vouching(model: ModelSource | SecondModel | StaticModel, path: tuple[Key, ...]) -> Iterator[Wrong]:
    """Digests and signatures of models that have no file of their own, so that nothing would be checked."""
    scheme = scheme_of(model.source)
    filed = scheme in ("onnx", "sklearn") or (scheme == "torch" and model.weights is not None)
    for key in ("digest", "signature"):
        if getattr(model, key) is not None and not filed:
            yield (
                (*path, key),
                f"{key} is about the model's file, and a source of {scheme}: "
                + ("has none without weights" if scheme == "torch" else "has none"),
                "add weights"
                if scheme == "torch"
                else "leave it out, or give the model as a file: torch:, onnx:, sklearn:",
            )


def _requirements(policy: Policy) -> Iterator[Wrong]:
    first: dict[str, int] = {}
    for index, requirement in enumerate(policy.requirements):
        here: tuple[Key, ...] = ("requirements", index)
        if requirement.id in first:
            yield (
                (*here, "id"),
                f"duplicate id '{requirement.id}', which requirements[{first[requirement.id]}] has already",
                "give each requirement an id of its own",
            )
        first.setdefault(requirement.id, index)
        game = POLICIES[type(requirement)]
        for path, what, remedy in game.fits(requirement, policy):
            yield (*here, *path), what, remedy
        adversary = policy.adversaries.get(requirement.adversary)
        if adversary is None:
            names = list(policy.adversaries)
            meant = nearest(requirement.adversary, names)
            yield (
                (*here, "adversary"),
                f"unknown adversary '{requirement.adversary}'{did_you_mean(requirement.adversary, names)}",
                f"write '{meant}'" if meant else f"add '{requirement.adversary}' under adversaries",
            )
            continue
        for path, what, remedy in game.plays(requirement, adversary, policy):
            yield (*here, *path), what, remedy


def _seconds(policy: Policy) -> Iterator[Wrong]:
    if policy.guard is None:
        return
    for path, second in (
        (("guard", "robust"), policy.guard.robust),
        (("guard", "detectors", "second_model"), policy.guard.detectors.second_model),
    ):
        if second is not None:
            yield from vouching(second, path)


def _harden(policy: Policy) -> Iterator[Wrong]:
    if policy.harden is None:
        return
    ids = [requirement.id for requirement in policy.requirements]
    sets = [requirement.id for requirement in policy.requirements if isinstance(requirement, EvasionRequirement)]
    for against in policy.harden.against:
        if against in ids and against not in sets:
            yield (
                ("harden", "against"),
                f"requirement '{against}' moves no inputs, so nothing can be trained against it",
                "name a requirement of game: evasion",
            )
        elif against not in ids:
            meant = nearest(against, ids)
            yield (
                ("harden", "against"),
                f"no requirement has the id '{against}'{did_you_mean(against, ids)}",
                f"write '{meant}'" if meant else "name the id of a requirement",
            )
    for index, static in enumerate(policy.harden.static):
        yield from vouching(static, ("harden", "static", index))
    if policy.data.train is None:
        yield ("harden",), "harden needs data to train on, and data has no 'train'", "add train under data"
