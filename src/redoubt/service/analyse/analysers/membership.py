"""Membership probing: accounts that ask about the training points."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from redoubt.detectors.fingerprints import NOTHING
from redoubt.service.analyse.base import Analyser, Report, Row, Suspicion
from redoubt.service.analyse.memory.accounts import Accounts, Recent
from redoubt.service.analyse.memory.prints import shared
from redoubt.service.analyse.memory.sample import Sample
from redoubt.service.analyse.reference import Points, Reference
from redoubt.service.analyse.statistics.significance import at_least, highest_chance, holm

_COMMON = 256  # hashes that more training points have find none of them
_KEYS = 12  # smallest hashes of a query by which points are found
_AGREEING = 2  # so many of them must agree before two prints are compared; of those that share half, 99.7 % have them
_MOST_ACCOUNTS = 2000
_MOST_JUDGED = 1000
_MOST_DIGESTS = 512
_MOST_POINTS = 500  # distinct training points of one account that are counted
_FEWEST = 5
_AT_ONCE = 1024


class TrainingPoints:
    """Finds the training point that a query is, or is most like.

    Args:
        points: the training points, N of them.  Takes 20 bytes for each hash, and about 150 for each point.
        alike: share of hashes in common that makes two prints alike.
    """

    def __init__(self, points: Points, alike: float) -> None:
        self._prints, self._alike = points.hashes, alike
        self._by_digest = {digest: at for at, digest in enumerate(points.digests)}
        flat = points.hashes.ravel()
        order = np.argsort(flat, kind="stable")
        order = order[flat[order] != NOTHING]
        self._hashes, self._owners = flat[order], (order // points.hashes.shape[1]).astype(np.int64)

    def exact(self, digest: bytes | None) -> int | None:
        """The point of which this is the digest."""
        return self._by_digest.get(digest) if digest else None

    def near(self, prints: Sequence[NDArray[np.uint64]]) -> list[int | None]:
        """For each fingerprint, the training point that it shares most hashes with, if they are alike."""
        found: list[int | None] = []
        for start in range(0, len(prints), _AT_ONCE):
            found += self._near(prints[start : start + _AT_ONCE])
        return found

    def _near(self, prints: Sequence[NDArray[np.uint64]]) -> list[int | None]:
        keys = [hashes[:_KEYS] for hashes in prints]
        flat = np.concatenate(keys)
        rows = np.repeat(np.arange(len(keys)), [len(hashes) for hashes in keys])
        low, high = np.searchsorted(self._hashes, flat, "left"), np.searchsorted(self._hashes, flat, "right")
        lengths = np.where(high - low <= _COMMON, high - low, 0)
        # all positions low[i] .. low[i] + lengths[i] - 1, one after the other
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        owners = self._owners[np.repeat(low, lengths) + within]
        pairs, counts = np.unique(np.repeat(rows, lengths) * len(self._prints) + owners, return_counts=True)
        worth = counts >= _AGREEING
        pairs, counts = pairs[worth], counts[worth]
        pairs = pairs[np.argsort(counts, kind="stable")]  # so that of each row the best comes last
        best = dict(zip((pairs // len(self._prints)).tolist(), (pairs % len(self._prints)).tolist(), strict=True))
        return [
            best[row] if row in best and self._share(hashes, best[row]) >= self._alike else None
            for row, hashes in enumerate(prints)
        ]

    def _share(self, hashes: NDArray[np.uint64], at: int) -> float:
        theirs = self._prints[at][self._prints[at] != NOTHING]
        return shared(hashes, theirs)


@dataclass
class _Asked:
    """What one account asked."""

    account: str
    recent: Recent = field(default_factory=lambda: Recent(_MOST_DIGESTS))
    queries: int = 0
    exact: int = 0
    points: set[int] = field(default_factory=set)
    hits: Sample = field(default_factory=Sample)


class Membership(Analyser):
    """Queries that are training points (by digest) or very near one (by fingerprint), account by account.

    A customer's own data coincide with a training point now and then: how often is taken from the policy's test data,
    as the greatest chance that they are compatible with (99 %).  An account with more such queries than that explains
    is probing who was in the training data, or holds a copy of them.

    Args:
        reference: None if no policy was given.
        level: probability of any false suspicion in a log without probing.
    """

    name = "membership"
    says = "accounts that ask about training points, or about inputs very near them"
    needs = "a digest or fingerprint"
    not_covered = (
        "A probe of fewer than 5 queries, or spread over accounts so that each asks fewer; queries about candidates "
        "that were not in the training data; probes by inputs that are not near their target (made by a generator, or "
        "moved by more than half a quantisation step in most windows). It cannot tell a probe from an owner of "
        "training data who uses them in good faith."
    )

    def __init__(self, reference: Reference | None, level: float = 0.01) -> None:
        super().__init__()
        self._level, self._tests = level, 0
        self._accounts: Accounts[_Asked] = Accounts(_MOST_ACCOUNTS, _Asked, self._close)
        self._judged: list[tuple[float, _Asked]] = []
        self._why_not = ""
        self._points: TrainingPoints | None = None
        if reference is None:
            self._why_not = "it must know the training points: give the policy with --policy"
        elif reference.train is None:
            self._why_not = "the policy does not say what the model was trained on: write data.train"
        else:
            self._points = TrainingPoints(reference.train, reference.alike)
            self._honest = len(reference.honest)
            prints = [hashes[hashes != NOTHING] for hashes in reference.honest.hashes]
            near = self._points.near(prints)
            self._coincide = sum(
                self._points.exact(digest) is not None or at is not None
                for digest, at in zip(reference.honest.digests, near, strict=True)
            )
            self._chance = highest_chance(self._coincide, self._honest)

    def see(self, rows: Sequence[Row]) -> None:
        if self._points is None:
            return
        some = [row for row in rows if row.account is not None and (row.digest or row.hashes is not None)]
        self._looked += len(some)
        self._passed += sum(row.entry.row is not None for row in rows) - len(some)
        if not some:
            return
        empty = np.empty(0, dtype=np.uint64)
        near = self._points.near([empty if row.hashes is None else row.hashes for row in some])
        for row, at in zip(some, near, strict=True):
            asked = self._accounts.of(row.account or "")
            if row.digest and not asked.recent.is_new(row.digest):
                continue
            asked.queries += 1
            exact = self._points.exact(row.digest)
            asked.exact += exact is not None
            point = at if exact is None else exact
            if point is not None:
                asked.hits.add(row.index)
                if len(asked.points) < _MOST_POINTS:
                    asked.points.add(point)

    def end(self) -> Report:
        if self._points is None:
            return self._report(unable=self._why_not)
        self._accounts.close_all()
        corrected = holm([p for p, _ in self._judged], self._tests)
        found = [(p, asked) for p, (_, asked) in zip(corrected, self._judged, strict=True) if p <= self._level]
        found.sort(key=lambda pair: (pair[0], -pair[1].hits.of))
        notes = [
            f"{self._coincide} of the {self._honest} test inputs are training points or alike to one; more than "
            f"{self._chance:.2%} of an account's queries are not explained by that. {self._tests} accounts, together "
            f"false with probability {self._level:g}."
        ]
        return self._report([self._suspicion(p, asked) for p, asked in found], notes)

    def _close(self, asked: _Asked) -> None:
        self._tests += 1
        if asked.hits.of < _FEWEST:
            return
        p = at_least(asked.hits.of, asked.queries, self._chance)
        if p > self._level:
            return
        self._judged.append((p, asked))
        if len(self._judged) > _MOST_JUDGED:  # the weakest gives way
            self._judged.remove(max(self._judged, key=lambda judged: judged[0]))

    def _suspicion(self, p: float, asked: _Asked) -> Suspicion:
        points = f"{len(asked.points)}{' or more' if len(asked.points) == _MOST_POINTS else ''}"
        why = (
            f"{asked.hits.of} of {asked.queries} queries are about {points} training points: {asked.exact} are such a "
            f"point, {asked.hits.of - asked.exact} are alike to one; at most {self._chance * asked.queries:.1f} were "
            f"to be expected (p = {p:.1e})"
        )
        figures = {
            "p": p,
            "queries": asked.queries,
            "exact": asked.exact,
            "near": asked.hits.of - asked.exact,
            "points": len(asked.points),
        }
        return Suspicion((asked.account,), why, figures, asked.hits.entries, asked.hits.of)
