"""Strategies for the poisoning game, one file each, and what an adversary knows who plays them."""

from redoubt.attacks.poisoning.base import (
    NothingToChangeError,
    PoisonedSet,
    PoisoningAttack,
    Scene,
    Target,
    rows_allowed,
)
from redoubt.attacks.poisoning.flips import ChosenFlips, RandomFlips
from redoubt.attacks.poisoning.influence import InfluencePoint
from redoubt.attacks.poisoning.matching import GradientMatching
from redoubt.attacks.poisoning.retrain import answers_after, surrogates_of
from redoubt.attacks.poisoning.softmax import Head, fit_head
from redoubt.attacks.poisoning.surrogate import Surrogate

__all__ = [
    "ChosenFlips",
    "GradientMatching",
    "Head",
    "InfluencePoint",
    "NothingToChangeError",
    "PoisonedSet",
    "PoisoningAttack",
    "RandomFlips",
    "Scene",
    "Surrogate",
    "Target",
    "answers_after",
    "fit_head",
    "rows_allowed",
    "surrogates_of",
]
