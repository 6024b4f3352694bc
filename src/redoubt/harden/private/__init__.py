"""Training with a guarantee: DP-SGD, the features it is worth training on, and the events of what was spent."""

from redoubt.harden.private.cache import cached_features
from redoubt.harden.private.general import train_general
from redoubt.harden.private.linear import PrivateLinear, train_linear
from redoubt.harden.private.normalise import (
    NoisedCentre,
    NoisedStatistics,
    group_norm,
    noised_centre,
    noised_statistics,
)
from redoubt.harden.private.plan import Plan
from redoubt.harden.private.public import PublicCourse, PublicFeatures, learn_features
from redoubt.harden.private.randomness import PrivateRandom
from redoubt.harden.private.sampling import Poisson, Sampler, Shuffled
from redoubt.harden.private.scattering import Scattering
from redoubt.harden.private.upright import upright

__all__ = [
    "NoisedCentre",
    "NoisedStatistics",
    "Plan",
    "Poisson",
    "PrivateLinear",
    "PrivateRandom",
    "PublicCourse",
    "PublicFeatures",
    "Sampler",
    "Scattering",
    "Shuffled",
    "cached_features",
    "group_norm",
    "learn_features",
    "noised_centre",
    "noised_statistics",
    "train_general",
    "train_linear",
    "upright",
]
