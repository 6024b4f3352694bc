"""Canaries: records planted in a training, and ways to tell from what is released whether they were there."""

from redoubt.attacks.canary.distinguish import DISTINGUISHERS, Distinguisher
from redoubt.attacks.canary.plant import Canaries, dirac, mislabelled
from redoubt.attacks.canary.traces import linear_traces, loss_traces, module_traces

__all__ = [
    "DISTINGUISHERS",
    "Canaries",
    "Distinguisher",
    "dirac",
    "linear_traces",
    "loss_traces",
    "mislabelled",
    "module_traces",
]
