"""The sets an adversary may move in: norm balls, rotation+translation, features of a table, unions."""

from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.build import build_set
from redoubt.perturb.norms import L1Ball, L2Ball, LinfBall, NormBall
from redoubt.perturb.pixels import L0Ball
from redoubt.perturb.table import Feature, Table
from redoubt.perturb.turn import Turn
from redoubt.perturb.union import Union

__all__ = [
    "Feature",
    "L0Ball",
    "L1Ball",
    "L2Ball",
    "LinfBall",
    "NormBall",
    "PerturbationSet",
    "Table",
    "Turn",
    "Union",
    "build_set",
]
