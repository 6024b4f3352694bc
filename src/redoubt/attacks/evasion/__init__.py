"""Strategies for the evasion game, one file each."""

from redoubt.attacks.evasion.adaptive import Adaptive
from redoubt.attacks.evasion.apgd import APGD, TargetedAPGD
from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.carlini_wagner import CarliniWagner
from redoubt.attacks.evasion.cascade import Cascade
from redoubt.attacks.evasion.deepfool import DeepFool
from redoubt.attacks.evasion.feature_search import FeatureSearch
from redoubt.attacks.evasion.fmn import FMN
from redoubt.attacks.evasion.hopskipjump import HopSkipJump, Starts
from redoubt.attacks.evasion.nes import NES
from redoubt.attacks.evasion.oars import Oars
from redoubt.attacks.evasion.patch_eot import PatchEOT
from redoubt.attacks.evasion.pgd import PGD
from redoubt.attacks.evasion.rays import RayS
from redoubt.attacks.evasion.search import GridSearch, RandomSearch, WorstOfK
from redoubt.attacks.evasion.sigma_zero import SigmaZero
from redoubt.attacks.evasion.square import Square
from redoubt.attacks.evasion.transfer import Transfer
from redoubt.attacks.evasion.universal import Universal
from redoubt.attacks.evasion.worst_corruption import WorstCorruption
from redoubt.attacks.evasion.worst_start import WorstStart

__all__ = [
    "APGD",
    "FMN",
    "NES",
    "PGD",
    "Adaptive",
    "CarliniWagner",
    "Cascade",
    "DeepFool",
    "EvasionAttack",
    "FeatureSearch",
    "GridSearch",
    "HopSkipJump",
    "Oars",
    "PatchEOT",
    "RandomSearch",
    "RayS",
    "SigmaZero",
    "Square",
    "Starts",
    "TargetedAPGD",
    "Transfer",
    "Universal",
    "WorstCorruption",
    "WorstOfK",
    "WorstStart",
]
