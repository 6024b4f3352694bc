"""A class-balanced part of a set, the same for the same seed."""

import numpy as np
from numpy.typing import NDArray


def balanced_rows(y: NDArray[np.int64], take: int, seed: int) -> NDArray[np.int64]:
    """`take` rows, as many of each class as possible, in the order of the set.

    A class with too few rows gives all it has, and the others make up for it.  Which classes give one more when the
    number does not divide, and which rows are drawn, depends on the seed alone.

    >>> balanced_rows(np.array([0, 0, 0, 0, 1, 2, 2]), 5, seed=0).size
    5

    Args:
        y: labels `[N]`.
        take: at most N.
        seed: >= 0.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    keys = rng.random(len(y))
    classes, sizes = np.unique(y, return_counts=True)
    order = np.argsort(rng.random(len(classes)))
    quota = np.zeros(len(classes), dtype=np.int64)
    while (left := take - int(quota.sum())) > 0:
        open_ = [int(c) for c in order if quota[c] < sizes[c]]
        each = max(left // len(open_), 1)
        for c in open_[:left]:
            quota[c] += min(each, sizes[c] - quota[c])
    rows = [np.flatnonzero(y == label) for label in classes]
    drawn = [row[np.argsort(keys[row], kind="stable")[:count]] for row, count in zip(rows, quota, strict=True)]
    return np.sort(np.concatenate(drawn))
