"""From the policy's words to a set."""

from collections.abc import Callable

from redoubt.models.base import Face
from redoubt.perturb.base import PerturbationSet, Vote
from redoubt.perturb.corruption_kinds import IN_ORDER
from redoubt.perturb.corruptions import Corruptions
from redoubt.perturb.norms import L1Ball, L2Ball, LinfBall, NormBall
from redoubt.perturb.patch import Patch
from redoubt.perturb.pixels import L0Ball
from redoubt.perturb.table import Feature, Table
from redoubt.perturb.then import Then
from redoubt.perturb.turn import Turn
from redoubt.perturb.union import Union
from redoubt.records import (
    Norm,
    PolicyError,
    Within,
    WithinAnyOf,
    WithinCorruptions,
    WithinNorm,
    WithinPatch,
    WithinTable,
    WithinTurn,
)
from redoubt.records.within import Movable

_BALLS: dict[Norm, Callable[[float, float, float], NormBall]] = {
    Norm.LINF: LinfBall,
    Norm.L2: L2Ball,
    Norm.L1: L1Ball,
    Norm.L0: L0Ball,
}


def build_set(within: Within, face: Face) -> PerturbationSet:
    """The set that a requirement's `within` means for inputs of that face.

    Raises:
        PolicyError: rotation, translation, corruption or a patch of inputs that are not images `[C, H, W]`; features
            of inputs that are not rows `[F]`.
    """
    if isinstance(within, WithinAnyOf):
        return Union(tuple(build_set(part, face) for part in within.any_of))
    if isinstance(within, WithinTurn):
        if len(face.shape) != 3:
            raise PolicyError(f"rotation and translation need images [C, H, W]; the inputs are {list(face.shape)}")
        turn = Turn(within.rotation, within.translation, fill=face.low, high=face.high)
        return turn if within.then is None else Then(turn, _ball(within.then, face))
    if isinstance(within, WithinTable):
        if len(face.shape) != 1:
            raise PolicyError(f"features are columns of a table [F]; the inputs are {list(face.shape)}")
        return Table(
            tuple(one for name, given in within.features.items() for one in _features(name, given, face)), within.budget
        )
    if isinstance(within, WithinCorruptions):
        if len(face.shape) != 3:
            raise PolicyError(f"corruptions need images [C, H, W]; the inputs are {list(face.shape)}")
        kinds = tuple(kind for kind in IN_ORDER if kind in within.corruptions)
        return Corruptions(kinds, within.severity, face.low, face.high, within.at_once)
    if isinstance(within, WithinPatch):
        if len(face.shape) != 3:
            raise PolicyError(f"a patch needs images [C, H, W]; the inputs are {list(face.shape)}")
        vote = Vote(within.draws, within.share)
        return Patch(within.patch, face.low, face.high, within.scale, within.rotation, within.light, vote)
    return _ball(within, face)


def _ball(within: WithinNorm, face: Face) -> NormBall:
    return _BALLS[within.norm](within.radius, face.low, face.high)


def _features(name: str, given: Movable, face: Face) -> tuple[Feature, ...]:
    """One feature, or one for each of several columns of numbers."""
    if given.kind == "category":
        return (Feature(name, tuple(given.columns), given.cost, values=given.values or ()),)
    low, high = given.scale or (face.low, face.high)
    unit = (face.high - face.low) / (high - low)
    return tuple(
        Feature(
            name if len(given.columns) == 1 else f"{name}[{number}]",
            (column,),
            given.cost,
            given.step,
            unit,
            face.low - low * unit,
            low if given.low is None else given.low,
            high if given.high is None else given.high,
            given.only != "down",
            given.only != "up",
        )
        for number, column in enumerate(given.columns)
    )
