"""What becomes of the weights between and around the steps."""

from redoubt.harden.weights.average import follow
from redoubt.harden.weights.perturbation import restored, unmoved

__all__ = ["follow", "restored", "unmoved"]
