"""Strategies for the evasion game, one file each."""

from redoubt.attacks.evasion.apgd import APGD, TargetedAPGD
from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.pgd import PGD
from redoubt.attacks.evasion.search import GridSearch, RandomSearch
from redoubt.attacks.evasion.square import Square

__all__ = ["APGD", "PGD", "EvasionAttack", "GridSearch", "RandomSearch", "Square", "TargetedAPGD"]
