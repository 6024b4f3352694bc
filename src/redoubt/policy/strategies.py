"""Which strategies can be played: by that adversary, in that set, against that source."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias, get_args

from redoubt.policy.sources import gives_gradients, scheme_of
from redoubt.records import (
    Access,
    Adversary,
    EvasionRequirement,
    ModelSource,
    Norm,
    Policy,
    Within,
    WithinAnyOf,
    WithinCorruptions,
    WithinNorm,
    WithinPatch,
    WithinSimple,
    WithinTable,
    WithinTurn,
)
from redoubt.records.evasion import StrategyName
from redoubt.records.within import UNEVEN_CORRUPTIONS

STRATEGIES: tuple[StrategyName, ...] = get_args(StrategyName)
_NEEDS: dict[StrategyName, Access] = {
    "random": Access.LABEL,
    "worst-of-k": Access.LABEL,
    "grid": Access.LABEL,
    "feature-search": Access.LABEL,
    "worst-start": Access.GRADIENTS,
    "worst-corruption": Access.LABEL,
    "patch-eot": Access.GRADIENTS,
    "universal": Access.GRADIENTS,
    "square": Access.SCORES,
    "nes": Access.SCORES,
    "rays": Access.LABEL,
    "hopskipjump": Access.LABEL,
    "cascade": Access.GRADIENTS,
    "transfer": Access.LABEL,
    "pgd": Access.GRADIENTS,
    "apgd-ce": Access.GRADIENTS,
    "apgd-dlr": Access.GRADIENTS,
    "apgd-t": Access.GRADIENTS,
    "fmn": Access.GRADIENTS,
    "sigma-zero": Access.GRADIENTS,
    "deepfool": Access.GRADIENTS,
    "carlini-wagner": Access.GRADIENTS,
    "adaptive": Access.GRADIENTS,
}
_NORMS: dict[StrategyName, tuple[Norm, ...]] = {
    "square": (Norm.LINF, Norm.L2),
    "nes": (Norm.LINF, Norm.L2),
    "hopskipjump": (Norm.LINF, Norm.L2),
    "rays": (Norm.LINF, Norm.L2),
    "fmn": tuple(Norm),
    "sigma-zero": (Norm.L0,),
    "deepfool": (Norm.LINF, Norm.L2, Norm.L1),
    "carlini-wagner": (Norm.L2,),
}
_SHOWN = {Norm.LINF: "Linf", Norm.L2: "L2", Norm.L1: "L1", Norm.L0: "L0"}


Part: TypeAlias = WithinSimple | WithinTable


class _Only(NamedTuple):
    """Kinds of sets that a strategy is made for."""

    holds: Callable[[Part], bool]
    says: str
    remedy: str


def _is_smooth(part: Part) -> bool:
    return not isinstance(part, WithinCorruptions) or not UNEVEN_CORRUPTIONS.intersection(part.corruptions)


def _has_few_coordinates(part: Part) -> bool:
    return isinstance(part, WithinCorruptions) or (isinstance(part, WithinTurn) and part.then is None)


_FEW = _Only(
    _has_few_coordinates,
    "covers sets of few coordinates: rotation and translation, or corruptions",
    "use random, square or pgd",
)
_ONLY_IN: dict[StrategyName, _Only] = {
    "feature-search": _Only(
        lambda part: isinstance(part, WithinTable), "changes the features of a table", "use random, square or pgd"
    ),
    "worst-of-k": _FEW,
    "grid": _FEW,
    "worst-corruption": _Only(
        lambda part: isinstance(part, WithinCorruptions), "searches among corruptions only", "use random or grid"
    ),
    "patch-eot": _Only(lambda part: isinstance(part, WithinPatch), "makes patches only", "use apgd-ce or random"),
    "worst-start": _Only(
        lambda part: isinstance(part, WithinTurn) and part.then is not None,
        "moves where an image is turned first and moved then",
        "use apgd-ce, or add then",
    ),
}
_AVERAGING: frozenset[StrategyName] = frozenset({"patch-eot", "universal", "random"})

BESIDE_CASCADE: frozenset[str] = frozenset(
    {"apgd-ce", "apgd-t", "apgd-dlr", "pgd", "nes", "rays", "hopskipjump", "transfer"}
)
"""What whoever can follow gradients plays only if it is named: `cascade` is the stronger for the same passes, and
`square` and `random` tell whether the gradients mislead."""

BY_NAME: frozenset[str] = frozenset({"fmn", "deepfool", "carlini-wagner", "universal"})
"""Strategies that nobody plays who is not told to: baselines, and one that looks for the nearest wrong answer where any
inside the set would do (the curve over radii has use for that); and one move for all inputs, a figure of its own."""


def by_default(strategy: str, follows: bool) -> bool:
    """Whether a requirement that names no strategy is played with this one; `follows`: gradients can be had."""
    return strategy not in BY_NAME and not (follows and strategy in BESIDE_CASCADE)


def refusal(strategy: StrategyName, adversary: Adversary, within: Within, model: ModelSource) -> tuple[str, str] | None:
    """Why that strategy cannot be played there, and the remedy; None if it can.

    A union is played part by part, so one part that fits is enough.
    """
    needs = _NEEDS[strategy]
    if adversary.access < needs:
        if needs is Access.GRADIENTS:
            return f"{strategy} needs gradients, and this adversary does not know the weights", "give it knows: weights"
        return f"{strategy} needs scores, and this adversary observes labels only", "give it observes: scores"
    if needs is Access.GRADIENTS and not gives_gradients(model.source):
        return (
            f"{strategy} needs gradients, which a source of {scheme_of(model.source)}: does not give",
            "use square, nes, rays, hopskipjump, transfer or random, or give the model itself",
        )
    parts = within.any_of if isinstance(within, WithinAnyOf) else (within,)
    found = [_unfit(strategy, needs, part) for part in parts]
    return None if None in found else found[0]


def _unfit(strategy: StrategyName, needs: Access, part: Part) -> tuple[str, str] | None:
    """Why that strategy cannot move in that set, and the remedy; None if it can."""
    only = _ONLY_IN.get(strategy)
    if only is not None and not only.holds(part):
        return f"{strategy} {only.says}", only.remedy
    norms = _NORMS.get(strategy)
    if norms and not (isinstance(part, WithinNorm) and part.norm in norms):
        return (
            f"{strategy} moves in {' and '.join(_SHOWN[norm] for norm in norms)} balls only",
            "use random, feature-search or pgd" if isinstance(part, WithinTable) else "use random, grid or pgd",
        )
    if isinstance(part, WithinPatch) and strategy not in _AVERAGING:
        return f"{strategy} does not average over where chance places a patch", "use patch-eot, universal or random"
    if needs is Access.GRADIENTS and not _is_smooth(part):
        return f"{strategy} follows slopes, and these corruptions have none", "use grid, worst-corruption or random"
    return None


def playable(requirement: EvasionRequirement, policy: Policy) -> tuple[StrategyName, ...]:
    """The strategies that a requirement is played with, if nothing about the model itself stands against it."""
    adversary = policy.adversaries[requirement.adversary]
    follows = adversary.access is Access.GRADIENTS and gives_gradients(policy.model.source)
    wanted = requirement.strategies or tuple(name for name in STRATEGIES if by_default(name, follows))
    return tuple(
        dict.fromkeys(name for name in wanted if not refusal(name, adversary, requirement.within, policy.model))
    )
