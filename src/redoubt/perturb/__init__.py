"""The sets an adversary may move in: norm balls, rotation+translation, corruptions, patches, tables, unions."""

from redoubt.perturb.base import PerturbationSet, Vote
from redoubt.perturb.build import build_set
from redoubt.perturb.corruptions import Corruptions
from redoubt.perturb.norms import L1Ball, L2Ball, LinfBall, NormBall
from redoubt.perturb.patch import Patch
from redoubt.perturb.pixels import L0Ball
from redoubt.perturb.table import Feature, Table
from redoubt.perturb.then import Then
from redoubt.perturb.turn import Turn
from redoubt.perturb.union import Union

__all__ = [
    "Corruptions",
    "Feature",
    "L0Ball",
    "L1Ball",
    "L2Ball",
    "LinfBall",
    "NormBall",
    "Patch",
    "PerturbationSet",
    "Table",
    "Then",
    "Turn",
    "Union",
    "Vote",
    "build_set",
]
