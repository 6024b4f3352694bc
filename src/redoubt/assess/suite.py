"""Which strategies play a requirement, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass

from redoubt.attacks.evasion import (
    APGD,
    NES,
    PGD,
    EvasionAttack,
    GridSearch,
    HopSkipJump,
    PatchEOT,
    RandomSearch,
    RayS,
    Square,
    TargetedAPGD,
    Universal,
    WorstCorruption,
    WorstOfK,
    WorstStart,
)
from redoubt.perturb import PerturbationSet
from redoubt.policy.strategies import ASKING, NAMED
from redoubt.records import Access, PolicyError

# Ordered by expected kills per pass.  What needs no gradient comes last: whom it still fools, the gradients missed.
STANDARD: tuple[EvasionAttack, ...] = (
    WorstOfK(),
    GridSearch(),
    WorstCorruption(),
    WorstStart(),
    PatchEOT(),
    Universal(),
    APGD("ce"),
    TargetedAPGD(),
    APGD("dlr"),
    PGD(restarts=5),
    Square(),
    NES(),
    RayS(),
    HopSkipJump(),
    RandomSearch(),
)


@dataclass(frozen=True)
class Bout:
    """One strategy against one member of the requirement's set."""

    attack: EvasionAttack
    within: PerturbationSet


def choose(
    within: PerturbationSet, access: Access, names: Sequence[str] | None, suite: Sequence[EvasionAttack] = STANDARD
) -> tuple[Bout, ...]:
    """The bouts of a requirement: for each member of the set, the strategies that fit it and the adversary.

    Args:
        within: the requirement's set.
        access: the lower of what the adversary may see and what the model can show.
        names: the only strategies to play, or None for all that fit, less `NAMED`, and less `ASKING` for who can follow
            gradients.
        suite: the strategies to choose from, in order.

    Raises:
        PolicyError: some member can be played by no strategy.
    """
    bouts: list[Bout] = []
    for member in within.members:
        named = [attack for attack in suite if (attack.name in names if names else _by_default(attack, access))]
        fitting = [attack for attack in named if attack.needs <= access and attack.refuses(member) is None]
        if not fitting:
            why = "; ".join(
                f"{attack.name}: {attack.refuses(member) or f'needs {attack.needs.name.lower()}'}" for attack in named
            )
            raise PolicyError(
                f"no strategy can play {member} with access to {access.name.lower()} only ({why or 'none named'})",
                remedy="leave `strategies` out, give the adversary more access, or use a differentiable model",
            )
        bouts += [Bout(attack, member) for attack in fitting]
    return tuple(bouts)


def _by_default(attack: EvasionAttack, access: Access) -> bool:
    return attack.name not in NAMED and (access < Access.GRADIENTS or attack.name not in ASKING)


def probes_for(within: PerturbationSet, access: Access) -> tuple[Bout, ...]:
    """The quick strategies for the curve over radii: for each member, what finds most at few passes."""
    return tuple(Bout(attack, member) for member in within.members for attack in _probes(member, access))


def _probes(member: PerturbationSet, access: Access) -> tuple[EvasionAttack, ...]:
    if access >= Access.GRADIENTS and member.vote.draws > 1:
        return (PatchEOT(steps=15, draws=2, restarts=1),)
    if access >= Access.GRADIENTS and not member.has_grid:
        # Both losses: cross-entropy is flat on saturated logits, DLR far from the border between classes.
        return APGD("ce", steps=20), APGD("dlr", steps=20)
    asking = (
        WorstCorruption(queries=50),
        Square(queries=300),
        RayS(queries=300),
        HopSkipJump(queries=300),
        RandomSearch(samples=50),
    )
    return (next(probe for probe in asking if probe.needs <= access and probe.refuses(member) is None),)
