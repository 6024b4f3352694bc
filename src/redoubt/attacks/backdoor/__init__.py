"""Backdoors: triggers, what they aim at, and ways to plant them in a training."""

from redoubt.attacks.backdoor.aims import Aim, NextClass, OneTarget
from redoubt.attacks.backdoor.fit import Course, fit
from redoubt.attacks.backdoor.inversion_aware import inversion_aware
from redoubt.attacks.backdoor.poison import Poisoned, adaptive_blend, badnets, label_consistent, wanet
from redoubt.attacks.backdoor.pruning_aware import channel_activity, pruning_aware
from redoubt.attacks.backdoor.triggers import Added, Bent, Blend, Checker, Laid, Square, Sticker, Trigger, Warp

__all__ = [
    "Added",
    "Aim",
    "Bent",
    "Blend",
    "Checker",
    "Course",
    "Laid",
    "NextClass",
    "OneTarget",
    "Poisoned",
    "Square",
    "Sticker",
    "Trigger",
    "Warp",
    "adaptive_blend",
    "badnets",
    "channel_activity",
    "fit",
    "inversion_aware",
    "label_consistent",
    "pruning_aware",
    "wanet",
]
