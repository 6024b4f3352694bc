"""Step 4: whether this query is near earlier ones, of this account or of all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from redoubt.detectors import Fingerprinter, PrintIndex, QueryMemory
from redoubt.detectors.fingerprints import NOTHING
from redoubt.models.base import Face
from redoubt.records.guard import Fingerprints, QueryDistance
from redoubt.service.stores.base import Print, Store

_PAGE = 10_000
_PRUNE_EVERY = 1000


@dataclass(frozen=True)
class Recalled:
    """What memory says of N inputs.

    Attributes:
        hashes: uint64 `[N, H]`, the fingerprints.
        signals: name to float64 `[N]`.
    """

    hashes: NDArray[np.uint64]
    signals: dict[str, NDArray[np.float64]]


class Recall:
    """The memory of queries.

    Fingerprints are rows of the store, which replicas share; the index in memory follows them, and is rebuilt from
    them at the start.  The queries of `query_distance` are remembered by this replica alone, until it stops.
    """

    def __init__(
        self, store: Store, face: Face, prints: Fingerprints, distance: QueryDistance | None, salt: bytes
    ) -> None:
        self._store = store
        self._fingerprinter = Fingerprinter(prints, face, salt)
        self._index = PrintIndex(prints.hashes, prints.remember, prints.alike)
        self._keep = prints.remember
        self._cursor = 0
        self._until_prune = _PRUNE_EVERY
        self._memory = QueryMemory(distance, face) if distance else None

    def catch_up(self) -> None:
        """Index what this and other replicas have stored since the last time."""
        size = self._index.hashes * 8
        while page := self._store.prints_after(self._cursor, _PAGE):
            rows = [row for row in page if len(row.hashes) == size]  # others were made under another policy
            self._index.add(
                np.array([row.id for row in rows], dtype=np.int64),
                [row.account for row in rows],
                [row.digest for row in rows],
                np.frombuffer(b"".join(row.hashes for row in rows), dtype="<u8").reshape(len(rows), self._index.hashes),
            )
            self._cursor = page[-1].id
            if len(page) < _PAGE:
                return

    def look(self, x: NDArray[np.float32], accounts: Sequence[str], digests: Sequence[bytes], now: float) -> Recalled:
        """Remember N inputs, and say what else is remembered that is like them.

        They are remembered first, so that the inputs of one batch see one another.  What is too flat to have a
        fingerprint is like nothing that could be found: its signals are NaN, which is unknown, and not 0.
        """
        hashes = self._fingerprinter.hashes(x)
        raw = np.ascontiguousarray(hashes, dtype="<u8")
        ids = self._store.add_prints(
            [
                Print(account, digest, raw[row].tobytes(), now)
                for row, (account, digest) in enumerate(zip(accounts, digests, strict=True))
            ]
        )
        if ids == list(range(self._cursor + 1, self._cursor + 1 + len(ids))):  # nobody else has stored any meanwhile
            self._index.add(np.array(ids, dtype=np.int64), accounts, digests, hashes)
            self._cursor += len(ids)
        else:
            self.catch_up()
        self._prune(len(x))
        own, everyone, shared = self._index.look(accounts, digests, hashes)
        blank = hashes[:, 1] == NOTHING  # fewer than the two hashes by which prints are found: nothing is known
        signals = {
            "similar_queries": np.where(blank, np.nan, own),
            "similar_queries_all": np.where(blank, np.nan, everyone),
            "shared_hashes": np.where(blank, np.nan, shared),
        }
        if self._memory is not None:
            signals["query_distance"] = self._memory.look(accounts, digests, x)
        return Recalled(hashes, signals)

    def _prune(self, added: int) -> None:
        self._until_prune -= added
        if self._until_prune <= 0:
            self._store.prune_prints(self._keep)
            self._until_prune = _PRUNE_EVERY
