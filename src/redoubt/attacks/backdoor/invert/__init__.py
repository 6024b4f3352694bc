"""Trigger inversion: which trigger a model answers to, found from its gradients."""

from redoubt.attacks.backdoor.invert.forms import FORMS, Bending, Form, Masked, Pixels, Spread, Window
from redoubt.attacks.backdoor.invert.search import Inverted, Search, anomaly_indices, invert

__all__ = [
    "FORMS",
    "Bending",
    "Form",
    "Inverted",
    "Masked",
    "Pixels",
    "Search",
    "Spread",
    "Window",
    "anomaly_indices",
    "invert",
]
