"""Distances between an account's queries (Juuti et al. 2019, PRADA, section 4)."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import pdist, squareform

_FEWEST = 20  # distances


def nearest_same_label(x: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """L2 distance from each query to the nearest one before it that got the same label, for those that have one.

    Args:
        x: float32 `[N, D]`, in the order they were asked.
        labels: int64 `[N]`.
    """
    distance = squareform(pdist(x.astype(np.float64)))
    usable = (labels[:, None] == labels) & (np.arange(len(x))[:, None] > np.arange(len(x)))
    nearest = np.where(usable, distance, np.inf).min(axis=1)
    return np.asarray(nearest[np.isfinite(nearest)])


def log_abnormality(distances: NDArray[np.float64]) -> float:
    """log(1 - W) of Shapiro and Wilk's W, without what lies three standard deviations off, as PRADA does.

    Natural data give distances that are close to normal, W near 1; queries made from each other by steps of one size
    give a peak beside a hump.  NaN for fewer than 20 distances.
    """
    kept = distances[np.abs(distances - distances.mean()) <= 3 * distances.std()] if len(distances) else distances
    if len(kept) < _FEWEST:
        return float("nan")
    if np.ptp(kept) <= 1e-9 * max(1.0, float(np.abs(kept).max())):
        return 0.0  # all the same: W is not defined, and nothing is less normal
    return float(np.log(max(1 - stats.shapiro(kept).statistic, 1e-9)))
