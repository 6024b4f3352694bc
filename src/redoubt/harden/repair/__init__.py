"""A backdoored module in, a repaired copy and what it cost out; the planter's data are not needed."""

from redoubt.harden.repair.adversarial_prune import adversarial_prune
from redoubt.harden.repair.cleanse import Cleansed, Plan, Round, cleanse
from redoubt.harden.repair.forget import Lesson, forget
from redoubt.harden.repair.held import accuracy, halves
from redoubt.harden.repair.prune import TUNING, Pruned, fine_prune, silence
from redoubt.harden.repair.quarantine import common_pattern, retrain, set_aside, treated
from redoubt.harden.repair.run import Repaired, Wish, repair
from redoubt.harden.repair.unlearn import unlearn

__all__ = [
    "TUNING",
    "Cleansed",
    "Lesson",
    "Plan",
    "Pruned",
    "Repaired",
    "Round",
    "Wish",
    "accuracy",
    "adversarial_prune",
    "cleanse",
    "common_pattern",
    "fine_prune",
    "forget",
    "halves",
    "repair",
    "retrain",
    "set_aside",
    "silence",
    "treated",
    "unlearn",
]
