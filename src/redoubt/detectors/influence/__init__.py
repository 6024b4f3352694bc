"""Which training points carried an answer: TracIn and representer points of the last layer, in closed form."""

from redoubt.detectors.influence.last_layer import LastLayer
from redoubt.detectors.influence.representer import Representers
from redoubt.detectors.influence.tracin import tracin

__all__ = ["LastLayer", "Representers", "tracin"]
