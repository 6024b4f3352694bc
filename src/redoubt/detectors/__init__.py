"""Tensors to signals for the monitor."""

from redoubt.detectors.agreement import Agreement
from redoubt.detectors.base import Detector, Seen
from redoubt.detectors.build import build_detectors
from redoubt.detectors.confidence import Confidence
from redoubt.detectors.deep_knn import CREDIBLE, DeepKnn
from redoubt.detectors.fingerprints import Fingerprinter
from redoubt.detectors.frames import Frames
from redoubt.detectors.inversion import Scanned, meta_score, most_reached, scan_model
from redoubt.detectors.print_index import Alike, PrintIndex
from redoubt.detectors.query_distance import QueryMemory
from redoubt.detectors.squeezing import Squeezing
from redoubt.detectors.strip import Strip

__all__ = [
    "CREDIBLE",
    "Agreement",
    "Alike",
    "Confidence",
    "DeepKnn",
    "Detector",
    "Fingerprinter",
    "Frames",
    "PrintIndex",
    "QueryMemory",
    "Scanned",
    "Seen",
    "Squeezing",
    "Strip",
    "build_detectors",
    "meta_score",
    "most_reached",
    "scan_model",
]
