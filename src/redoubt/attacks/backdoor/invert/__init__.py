"""Trigger inversion: which trigger a model answers to, found from its gradients."""

from redoubt.attacks.backdoor.invert.forms import FORMS, Bending, Form, Masked, Pixels, Spread
from redoubt.attacks.backdoor.invert.search import Inverted, Search, anomaly_indices, invert
from redoubt.attacks.backdoor.invert.universal import (
    TRIGGER_SUITE,
    Proposed,
    Shrunk,
    Squares,
    TriggerSearch,
    cut,
    everywhere,
)

__all__ = [
    "FORMS",
    "TRIGGER_SUITE",
    "Bending",
    "Form",
    "Inverted",
    "Masked",
    "Pixels",
    "Proposed",
    "Search",
    "Shrunk",
    "Spread",
    "Squares",
    "TriggerSearch",
    "anomaly_indices",
    "cut",
    "everywhere",
    "invert",
]
