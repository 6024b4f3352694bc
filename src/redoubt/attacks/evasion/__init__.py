"""Strategies for the evasion game, one file each."""

from redoubt.attacks.evasion.apgd import APGD, TargetedAPGD
from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.hopskipjump import HopSkipJump, Starts
from redoubt.attacks.evasion.nes import NES
from redoubt.attacks.evasion.oars import Oars
from redoubt.attacks.evasion.patch_eot import PatchEOT
from redoubt.attacks.evasion.pgd import PGD
from redoubt.attacks.evasion.rays import RayS
from redoubt.attacks.evasion.search import GridSearch, RandomSearch, WorstOfK
from redoubt.attacks.evasion.square import Square
from redoubt.attacks.evasion.universal import Universal
from redoubt.attacks.evasion.worst_corruption import WorstCorruption
from redoubt.attacks.evasion.worst_start import WorstStart

__all__ = [
    "APGD",
    "NES",
    "PGD",
    "EvasionAttack",
    "GridSearch",
    "HopSkipJump",
    "Oars",
    "PatchEOT",
    "RandomSearch",
    "RayS",
    "Square",
    "Starts",
    "TargetedAPGD",
    "Universal",
    "WorstCorruption",
    "WorstOfK",
    "WorstStart",
]
