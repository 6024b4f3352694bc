"""Which strategies play a requirement, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass

from redoubt.attacks.evasion import (
    APGD,
    FMN,
    NES,
    PGD,
    Adaptive,
    CarliniWagner,
    Cascade,
    DeepFool,
    EvasionAttack,
    FeatureSearch,
    GridSearch,
    HopSkipJump,
    PatchEOT,
    RandomSearch,
    RayS,
    SigmaZero,
    Square,
    TargetedAPGD,
    Transfer,
    Universal,
    WorstCorruption,
    WorstOfK,
    WorstStart,
)
from redoubt.perturb import NormBall, PerturbationSet, Table
from redoubt.policy.strategies import by_default
from redoubt.records import Access, PolicyError

# Ordered by expected kills per pass.  What needs no gradient comes last: whom it still fools, the gradients missed.
STANDARD: tuple[EvasionAttack, ...] = (
    WorstOfK(),
    GridSearch(),
    Cascade(),
    FeatureSearch(),
    SigmaZero(),
    WorstCorruption(),
    WorstStart(),
    PatchEOT(),
    Universal(),
    APGD("ce"),
    TargetedAPGD(),
    APGD("dlr"),
    Adaptive(),
    PGD(restarts=5),
    FMN(),
    DeepFool(),
    CarliniWagner(),
    Square(),
    NES(),
    RayS(),
    HopSkipJump(),
    Transfer(),
    RandomSearch(),
)

# What is played in their stead beside `Cascade`, which makes random changes of its own: enough to tell whether what
# needs no gradient finds more.
_BRIEFLY: dict[EvasionAttack, EvasionAttack] = {
    Square(): Square(queries=50),
    RandomSearch(): RandomSearch(samples=5),
}


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
        names: the only strategies to play, or None for all that fit and are played `by_default`.
        suite: the strategies to choose from, in order.

    Raises:
        PolicyError: some member can be played by no strategy.
    """
    bouts: list[Bout] = []
    follows = access >= Access.GRADIENTS
    for member in within.members:
        named = [attack for attack in suite if attack.name in names] if names else _unnamed(suite, follows)
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


def _unnamed(suite: Sequence[EvasionAttack], follows: bool) -> list[EvasionAttack]:
    beside = follows and any(isinstance(attack, Cascade) for attack in suite)
    played = [attack for attack in suite if by_default(attack.name, beside)]
    return [_BRIEFLY.get(attack, attack) for attack in played] if beside else played


def probes_for(within: PerturbationSet, access: Access, *, doubtful: bool = False) -> tuple[Bout, ...]:
    """The quick strategies for the curve over radii: for each member, what finds most at few passes.

    Args:
        within: the set.
        access: what the adversary may see.
        doubtful: whether gradients as they are would be blind: then the search for others is played.
    """
    return tuple(Bout(attack, member) for member in within.members for attack in _probes(member, access, doubtful))


def nearest_for(member: PerturbationSet, access: Access) -> EvasionAttack | None:
    """The minimum-norm strategy that draws the curve over radii in a norm ball; None where none can be played."""
    if access < Access.GRADIENTS or not isinstance(member, NormBall):
        return None
    return FMN(nearest=True)


def _probes(member: PerturbationSet, access: Access, doubtful: bool) -> tuple[EvasionAttack, ...]:
    if isinstance(member, Table):
        return (FeatureSearch(queries=600, pairs=400),)
    if access >= Access.GRADIENTS and member.vote.draws > 1:
        return (PatchEOT(steps=15, draws=2, restarts=1),)
    if access >= Access.GRADIENTS and doubtful and isinstance(member, NormBall):
        return (Adaptive(passes=400),)
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
