"""Which strategies can be played: by that adversary, in that set, against that source."""

from typing import get_args

from redoubt.policy.sources import gives_gradients, scheme_of
from redoubt.records import (
    Access,
    Adversary,
    ModelSource,
    Norm,
    Policy,
    Requirement,
    Within,
    WithinAnyOf,
    WithinNorm,
    WithinTurn,
)
from redoubt.records.policy import StrategyName

STRATEGIES: tuple[StrategyName, ...] = get_args(StrategyName)
_NEEDS: dict[StrategyName, Access] = {
    "random": Access.LABEL,
    "worst-of-k": Access.LABEL,
    "grid": Access.LABEL,
    "worst-start": Access.GRADIENTS,
    "square": Access.SCORES,
    "nes": Access.SCORES,
    "rays": Access.LABEL,
    "hopskipjump": Access.LABEL,
    "pgd": Access.GRADIENTS,
    "apgd-ce": Access.GRADIENTS,
    "apgd-dlr": Access.GRADIENTS,
    "apgd-t": Access.GRADIENTS,
}
_NORMS: dict[StrategyName, tuple[Norm, ...]] = {
    "square": (Norm.LINF, Norm.L2),
    "nes": (Norm.LINF, Norm.L2),
    "hopskipjump": (Norm.LINF, Norm.L2),
    "rays": (Norm.LINF,),
}
_FEW_COORDINATES: frozenset[StrategyName] = frozenset({"worst-of-k", "grid"})
_SHOWN = {Norm.LINF: "Linf", Norm.L2: "L2", Norm.L1: "L1"}

ASKING: frozenset[str] = frozenset({"nes", "rays", "hopskipjump"})
"""Searches by queries that whoever can follow gradients plays only if they are named: for such an adversary `square`
and `random` already tell whether the gradients mislead, and every pass is better spent on gradients."""


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
            "use square, nes, rays, hopskipjump or random, or give the model itself",
        )
    parts = within.any_of if isinstance(within, WithinAnyOf) else (within,)
    if strategy in _FEW_COORDINATES and not any(isinstance(part, WithinTurn) and not part.then for part in parts):
        return f"{strategy} covers sets of few coordinates: rotation and translation", "use random, square or pgd"
    if strategy == "worst-start" and not any(isinstance(part, WithinTurn) and part.then for part in parts):
        return "worst-start moves where an image is turned first and moved then", "use apgd-ce, or add then"
    norms = _NORMS.get(strategy)
    if norms and not any(isinstance(part, WithinNorm) and part.norm in norms for part in parts):
        return (
            f"{strategy} moves in {' and '.join(_SHOWN[norm] for norm in norms)} balls only",
            "use random, grid or pgd",
        )
    return None


def playable(requirement: Requirement, policy: Policy) -> tuple[StrategyName, ...]:
    """The strategies that a requirement is played with, if nothing about the model itself stands against it."""
    adversary = policy.adversaries[requirement.adversary]
    follows = adversary.access is Access.GRADIENTS and gives_gradients(policy.model.source)
    wanted = requirement.strategies or tuple(name for name in STRATEGIES if not (follows and name in ASKING))
    return tuple(
        dict.fromkeys(name for name in wanted if not refusal(name, adversary, requirement.within, policy.model))
    )
