"""How much of the input space an account's queries cover: distinct hashes, counted in bounded memory."""

import numpy as np
from numpy.typing import NDArray

from redoubt.detectors.fingerprints import NOTHING

SAMPLED = 1024  # distinct hashes that are held
_ODD = np.uint64(0x9E3779B97F4A7C15)  # a multiplier that scatters neighbouring values (Knuth, 6.4)


class Coverage:
    """Share of hashes that were new when they came, over all queries so far.

    1 means that no two queries have anything in common.  Kept by distinct sampling (Gibbons 2001): only hashes whose
    scattered value begins with `level` zero bits are counted, and the level grows when they become too many.
    """

    __slots__ = ("_counts", "_level", "_total")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._level = 0
        self._total = 0

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """One more fingerprint, its hashes distinct."""
        for value in hashes[levels(hashes) >= self._level].tolist():
            self._counts[value] = self._counts.get(value, 0) + 1
            self._total += 1
        while len(self._counts) > SAMPLED:
            self._level += 1
            values = np.array(list(self._counts), dtype=np.uint64)
            keep = values[levels(values) >= self._level].tolist()
            self._counts = {value: self._counts[value] for value in keep}
            self._total = sum(self._counts.values())

    @property
    def share(self) -> float:
        """Distinct hashes over all hashes; 1 for none."""
        return len(self._counts) / self._total if self._total else 1.0


def levels(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """At which level each hash is sampled still: with probability 2^-level."""
    with np.errstate(over="ignore"):
        high = (hashes * _ODD) >> np.uint64(32)
    # zeros in front of the upper 32 bits of the product, which depend on all bits below
    return np.asarray(32 - np.frexp(high.astype(np.float64))[1], dtype=np.int64)


def coverage_of(prints: NDArray[np.uint64]) -> float:
    """What `Coverage` says after N fingerprints `[N, H]`, at once.

    >>> import numpy as np
    >>> prints = np.sort(np.random.default_rng(0).integers(0, 2**62, (300, 48), dtype=np.uint64), axis=1)
    >>> coverage_of(np.concatenate([prints, prints]))
    0.5
    """
    flat = prints.ravel()
    flat = flat[flat != NOTHING]
    at = levels(flat)
    level = max(0, int(np.log2(max(len(flat), 1) / SAMPLED)) - 2)  # no more than are needed, if a quarter is distinct
    while True:
        flat, at = flat[at >= level], at[at >= level]
        share = distinct_share(flat)
        if share * len(flat) <= SAMPLED:
            return share
        level += 1


def distinct_share(hashes: NDArray[np.uint64]) -> float:
    """Distinct hashes over all hashes; 1 for none."""
    if not len(hashes):
        return 1.0
    return (1 + int(np.count_nonzero(np.diff(np.sort(hashes))))) / len(hashes)
