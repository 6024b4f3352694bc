"""The sets an adversary may move in: norm balls, rotation+translation, unions."""

from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.build import build_set
from redoubt.perturb.norms import L1Ball, L2Ball, LinfBall, NormBall
from redoubt.perturb.then import Then
from redoubt.perturb.turn import Turn
from redoubt.perturb.union import Union

__all__ = ["L1Ball", "L2Ball", "LinfBall", "NormBall", "PerturbationSet", "Then", "Turn", "Union", "build_set"]
