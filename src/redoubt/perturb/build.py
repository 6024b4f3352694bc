"""From the policy's words to a set."""

from collections.abc import Callable

from redoubt.models.base import Face
from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.norms import L1Ball, L2Ball, LinfBall
from redoubt.perturb.pixels import L0Ball
from redoubt.perturb.turn import Turn
from redoubt.perturb.union import Union
from redoubt.records import Norm, PolicyError, Within, WithinAnyOf, WithinTurn

_BALLS: dict[Norm, Callable[[float, float, float], PerturbationSet]] = {
    Norm.LINF: LinfBall,
    Norm.L2: L2Ball,
    Norm.L1: L1Ball,
    Norm.L0: L0Ball,
}


def build_set(within: Within, face: Face) -> PerturbationSet:
    """The set that a requirement's `within` means for inputs of that face.

    Raises:
        PolicyError: rotation or translation of inputs that are not images `[C, H, W]`.
    """
    if isinstance(within, WithinAnyOf):
        return Union(tuple(build_set(part, face) for part in within.any_of))
    if isinstance(within, WithinTurn):
        if len(face.shape) != 3:
            raise PolicyError(f"rotation and translation need images [C, H, W]; the inputs are {list(face.shape)}")
        return Turn(within.rotation, within.translation, fill=face.low, high=face.high)
    return _BALLS[within.norm](within.radius, face.low, face.high)
