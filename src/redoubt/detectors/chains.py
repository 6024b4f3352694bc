"""A multimap from keys to the latest slots of a ring, all in flat arrays, so that memory never grows."""

import numpy as np
from numpy.typing import NDArray


class Chains:
    """For each of `slots` slots, `keys` keys; and from a key to the slots that hold it, the newest first.

    Buckets hold the newest entry of each chain, and every entry the one before it, as positions `slot * keys + column`
    plus one; 0 ends a chain.  Slots are filled in the order of a ring, so along a chain entries only grow older: one
    that is not older than its predecessor has been overwritten, and ends the chain.

    Different keys can share a bucket; whoever follows a chain compares what lies in the slots.

    Args:
        slots: of the ring.
        keys: of each slot.
    """

    def __init__(self, slots: int, keys: int) -> None:
        self._keys = keys
        entries = slots * keys
        self._bits = np.uint64(64 - max(entries - 1, 1).bit_length())
        kind = np.uint32 if entries < 2**32 - 1 else np.uint64
        self._heads = np.zeros(1 << (64 - int(self._bits)), dtype=kind)
        self._before = np.zeros(entries, dtype=kind)

    @property
    def size(self) -> int:
        """Bytes of memory held, from the beginning to the end."""
        return self._heads.nbytes + self._before.nbytes

    def forget(self, slots: NDArray[np.int64], keys: NDArray[np.uint64]) -> None:
        """Take the oldest slots `[N]`, whose keys `[N, keys]` are given, out of the buckets, before they are reused."""
        buckets, entries = self._bucket(keys).ravel(), self._entries(slots)
        ends = self._heads[buckets] == entries + 1
        self._heads[buckets[ends]] = 0

    def insert(self, slots: NDArray[np.int64], keys: NDArray[np.uint64]) -> None:
        """Give slots `[N]`, the oldest first, their keys `[N, keys]`."""
        buckets, entries = self._bucket(keys).ravel(), self._entries(slots)
        order = np.argsort(buckets, kind="stable")  # entries of one bucket side by side, the oldest first
        buckets, entries = buckets[order], entries[order] + 1
        first = np.ones(len(buckets), dtype=bool)
        first[1:] = buckets[1:] != buckets[:-1]
        before = np.empty(len(entries), dtype=self._before.dtype)
        before[1:] = entries[:-1]
        before[first] = self._heads[buckets[first]]
        self._before[entries - 1] = before
        last = np.ones(len(buckets), dtype=bool)
        last[:-1] = first[1:]
        self._heads[buckets[last]] = entries[last]

    def follow(self, keys: NDArray[np.uint64], newest: int, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Slots that may hold keys `[N]`.

        Args:
            keys: to look for.
            newest: the slot filled last.
            most: entries of each chain that are followed, the newest first.

        Returns:
            Indices into `keys`, and slots, both `[F]`.
        """
        entries = len(self._before)
        end = (newest + 1) * self._keys  # position after the newest entry
        which = np.arange(len(keys))
        here = self._heads[self._bucket(keys)].astype(np.int64) - 1
        age = np.full(len(keys), -1)
        found = [(which[:0], here[:0])]
        steps = 1  # taken before the ended chains are left out: a look at each step would cost more than the steps
        while most > 0 and len(here):
            trail = np.empty((min(steps, most), len(here)), dtype=np.int64)
            trail[0] = here
            for step in range(1, len(trail)):
                trail[step] = self._before[trail[step - 1]]
                trail[step] -= 1  # -1, the end, is read as the last entry, and left out below with all after it
            ages = (end - 1 - trail) % entries
            alive = trail >= 0
            alive[0] &= ages[0] > age
            alive[1:] &= ages[1:] > ages[:-1]
            np.logical_and.accumulate(alive, axis=0, out=alive)
            found.append((np.broadcast_to(which, alive.shape)[alive], trail[alive]))
            going = alive[-1]
            which, age = which[going], ages[-1, going]
            here = self._before[trail[-1, going]].astype(np.int64) - 1
            most -= len(trail)
            steps *= 2
        return np.concatenate([part for part, _ in found]), np.concatenate([part for _, part in found]) // self._keys

    def _entries(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray((slots[:, None] * self._keys + np.arange(self._keys)).ravel())

    def _bucket(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        return np.asarray((mixed(keys) >> self._bits).astype(np.int64))


def mixed(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A permutation of the 64-bit integers that spreads them (the finaliser of SplitMix64, Steele et al. 2014)."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(keys ^ (keys >> np.uint64(31)))
