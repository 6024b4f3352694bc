"""Adaptive attacks by search: what breaks gradients is found by probing, and the answer composed."""

from redoubt.attacks.evasion.adaptive.search import Adaptive

__all__ = ["Adaptive"]
