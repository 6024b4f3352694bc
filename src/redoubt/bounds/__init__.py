"""Answers that cover every strategy: interval and linear bounds, branch and bound, smoothing, patch certificates."""

from redoubt.bounds.certificates.ibp import ibp_loss, ibp_weights, radius_at, worst_logits
from redoubt.bounds.certificates.patches import Ablated, PatchCertified, ablate, ablated_loss, patch_certified
from redoubt.bounds.certificates.smoothing import ABSTAINED, Certified, Smoothed, largest_radius, noisy_loss
from redoubt.bounds.complete.cases import Case, misclassified
from redoubt.bounds.complete.falsify import Descent
from redoubt.bounds.complete.prove import Effort, Proof, prove
from redoubt.bounds.network.from_model import from_model
from redoubt.bounds.network.from_onnx import from_onnx
from redoubt.bounds.network.from_torch import from_torch
from redoubt.bounds.network.graph import Graph
from redoubt.bounds.relaxed.interval import interval_bounds
from redoubt.bounds.relaxed.region import Region
from redoubt.bounds.relaxed.single import single_error

__all__ = [
    "ABSTAINED",
    "Ablated",
    "Case",
    "Certified",
    "Descent",
    "Effort",
    "Graph",
    "PatchCertified",
    "Proof",
    "Region",
    "Smoothed",
    "ablate",
    "ablated_loss",
    "from_model",
    "from_onnx",
    "from_torch",
    "ibp_loss",
    "ibp_weights",
    "interval_bounds",
    "largest_radius",
    "misclassified",
    "noisy_loss",
    "patch_certified",
    "prove",
    "radius_at",
    "single_error",
    "worst_logits",
]
