"""Training set, as the model that was trained on it sees it, to how suspect each example is."""

from redoubt.detectors.poison.clusters import Clustered, Split, cluster
from redoubt.detectors.poison.influence import influence, self_influence
from redoubt.detectors.poison.seen import Trained, look_at
from redoubt.detectors.poison.spectral import spectral_removal, spectral_scores
from redoubt.detectors.poison.spectre import spectre_removal, spectre_scores

__all__ = [
    "Clustered",
    "Split",
    "Trained",
    "cluster",
    "influence",
    "look_at",
    "self_influence",
    "spectral_removal",
    "spectral_scores",
    "spectre_removal",
    "spectre_scores",
]
