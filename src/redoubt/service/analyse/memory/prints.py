"""A bounded memory of fingerprints that finds those alike to a new one."""

from collections import deque
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

_KEYS = 12  # smallest hashes by which a fingerprint is found
_COMPARED = 4  # fingerprints that are compared whole: those that agree in most keys

Item = TypeVar("Item")


def shared(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> float:
    """Share of hashes in common of two fingerprints, over the larger number of either.

    >>> shared(np.array([1, 2, 3], dtype=np.uint64), np.array([2, 3], dtype=np.uint64))
    0.6666666666666666
    """
    both = np.concatenate([one, other])
    both.sort()
    return int(np.count_nonzero(both[1:] == both[:-1])) / max(len(one), len(other), 1)


class Prints(Generic[Item]):
    """The latest fingerprints, each with an item, and an inverted index over their smallest hashes.

    The smallest hashes are a uniform sample of an input's windows (bottom-k sampling), so that two fingerprints which
    share half of their hashes agree in one of twelve with probability 0.99.  Under each hash only the latest
    fingerprint that has it is kept, which suffices to follow a trail, and bounds the memory.

    Args:
        most: fingerprints that are remembered, about 2 KB each.
        alike: share of hashes in common, over the larger number of either, that makes two alike.
    """

    def __init__(self, most: int, alike: float) -> None:
        self._most, self._alike = most, alike
        self._latest: deque[tuple[NDArray[np.uint64], Item]] = deque()
        self._index: dict[int, tuple[NDArray[np.uint64], Item]] = {}

    def __len__(self) -> int:
        return len(self._latest)

    def alike_to(self, hashes: NDArray[np.uint64]) -> list[Item]:
        """Items of remembered fingerprints that are alike; at most a few.

        Args:
            hashes: uint64 `[H]`, distinct and ascending.
        """
        agreeing: dict[int, int] = {}
        candidates: dict[int, tuple[NDArray[np.uint64], Item]] = {}
        for key in hashes[:_KEYS].tolist():
            if (known := self._index.get(key)) is not None:
                agreeing[id(known)] = agreeing.get(id(known), 0) + 1
                candidates[id(known)] = known
        found = []
        for which in sorted(agreeing, key=lambda at: -agreeing[at])[:_COMPARED]:
            theirs, item = candidates[which]
            if shared(hashes, theirs) >= self._alike:
                found.append(item)
        return found

    def add(self, hashes: NDArray[np.uint64], item: Item) -> Item | None:
        """Remember one; returns the item that was forgotten for it."""
        known = (hashes, item)
        self._latest.append(known)
        for key in hashes[:_KEYS].tolist():
            self._index[key] = known
        return self.forget() if len(self._latest) > self._most else None

    def forget(self) -> Item:
        """Forget the oldest; returns its item.

        Raises:
            IndexError: there is none.
        """
        oldest = self._latest.popleft()
        for key in oldest[0][:_KEYS].tolist():
            if self._index.get(key) is oldest:
                del self._index[key]
        return oldest[1]
