"""Evasion reconnaissance: clusters of queries that are nearly the same, within and across accounts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from redoubt.records import Action
from redoubt.service.analyse.base import MOST_SUSPICIONS, SHOWN, Analyser, Report, Row, Suspicion
from redoubt.service.analyse.memory.prints import Prints
from redoubt.service.analyse.memory.sample import Sample

_MOST_ACCOUNTS = 1000  # of one cluster, that are counted
_MOST_LABELS = 100


@dataclass
class _Cluster:
    """Queries of which each is alike to another; a node of the union-find forest."""

    parent: "_Cluster | None" = None
    live: int = 0  # queries that are still remembered
    queries: int = 0
    refused: int = 0
    locked: int = 0
    repeated: int = 0
    first: int = 0
    last: int = 0
    accounts: dict[str, int] = field(default_factory=dict)
    labels: set[int] = field(default_factory=set)
    sample: Sample = field(default_factory=Sample)

    def root(self) -> "_Cluster":
        """The cluster that this one is part of by now, with the way there halved."""
        node = self
        while node.parent is not None:
            if node.parent.parent is not None:
                node.parent = node.parent.parent
            node = node.parent
        return node

    def add(self, row: Row) -> None:
        """One more query."""
        entry = row.entry
        self.first = min(self.first, entry.at) if self.queries else entry.at
        self.last = max(self.last, entry.at)
        self.queries += 1
        self.refused += entry.action is Action.REFUSE
        self.locked += entry.action is Action.LOCK
        if entry.label is not None and len(self.labels) < _MOST_LABELS:
            self.labels.add(entry.label)
        self._count(row.account or "", 1)
        self.sample.add(row.index)

    def swallow(self, other: "_Cluster") -> None:
        """Become one with another, smaller one."""
        other.parent = self
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.live += other.live
        self.queries += other.queries
        self.refused += other.refused
        self.locked += other.locked
        self.repeated += other.repeated
        for account, count in other.accounts.items():
            self._count(account, count)
        self.labels.update(sorted(other.labels)[: _MOST_LABELS - len(self.labels)])
        self.sample.merge(other.sample)
        other.accounts, other.labels, other.sample = {}, set(), Sample()

    def _count(self, account: str, queries: int) -> None:
        if account in self.accounts or len(self.accounts) < _MOST_ACCOUNTS:
            self.accounts[account] = self.accounts.get(account, 0) + queries


@dataclass
class _Query:
    """A remembered query, and the cluster that it is in."""

    digest: bytes
    cluster: _Cluster


class Reconnaissance(Analyser):
    """Union-find over an inverted index of fingerprints.

    An attacker who looks for the boundary with queries alone sends many inputs that differ little.  Two queries are
    linked when they share `alike` of their hashes; the clusters that links make are what one search left, on however
    many accounts.  The same input asked again is no further query.

    Memory is bounded: the latest `remember` different queries can be linked to.  A cluster lives as long as one of its
    queries does, however many it has.

    Args:
        alike: share of hashes in common that links two queries.
        least: queries in a cluster that are suspicious.
        remember: queries that are remembered, about 2 KB each.
    """

    name = "reconnaissance"
    says = "clusters of queries that are nearly the same, whoever asked them"
    needs = "a digest and a fingerprint"
    not_covered = (
        "Searches that never send two queries alike: noise that moves most values by more than half a quantisation "
        "step, shifts by a whole window, or a search so slow that its last query is forgotten before the next. Frames "
        "of a still camera and repeated scans of one page are alike too, in good faith."
    )

    def __init__(self, alike: float = 0.5, least: int = 20, remember: int = 100_000) -> None:
        super().__init__()
        self._alike, self._least = alike, least
        self._prints: Prints[_Query] = Prints(remember, alike)
        self._queries: dict[bytes, _Query] = {}
        self._found: list[_Cluster] = []
        self._clusters = 0
        self._given_up = 0

    def see(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.digest is None or row.hashes is None or not len(row.hashes):
                self._passed += row.entry.row is not None
                continue
            self._looked += 1
            if (known := self._queries.get(row.digest)) is not None:
                known.cluster.root().repeated += 1
                continue
            self._add(row, row.digest, row.hashes)

    def end(self) -> Report:
        while len(self._prints):
            self._forget(self._prints.forget())
        self._found.sort(key=lambda cluster: -cluster.queries)
        notes = [
            f"Queries are linked when they share {self._alike:.0%} of their hashes; clusters of {self._least} or more "
            f"are shown. {self._clusters} smaller clusters of two or more were passed over."
        ]
        report = self._report([_suspicion(cluster) for cluster in self._found], notes)
        return replace(report, more=report.more + self._given_up)

    def _add(self, row: Row, digest: bytes, hashes: NDArray[np.uint64]) -> None:
        cluster = _Cluster()
        cluster.add(row)
        for other in self._prints.alike_to(hashes):
            theirs = other.cluster.root()
            if theirs is not cluster:
                large, small = (theirs, cluster) if theirs.queries >= cluster.queries else (cluster, theirs)
                large.swallow(small)
                cluster = large
        cluster.live += 1
        query = self._queries[digest] = _Query(digest, cluster)
        if (oldest := self._prints.add(hashes, query)) is not None:
            self._forget(oldest)

    def _forget(self, query: _Query) -> None:
        """With the last query of a cluster, judge that."""
        del self._queries[query.digest]
        cluster = query.cluster.root()
        cluster.live -= 1
        if cluster.live:
            return
        if cluster.queries >= self._least:
            self._found.append(cluster)
            if len(self._found) >= 2 * MOST_SUSPICIONS:
                self._found.sort(key=lambda found: -found.queries)
                self._given_up += len(self._found) - MOST_SUSPICIONS
                del self._found[MOST_SUSPICIONS:]
        else:
            self._clusters += cluster.queries > 1


def _suspicion(cluster: _Cluster) -> Suspicion:
    accounts = sorted(cluster.accounts, key=lambda name: -cluster.accounts[name])
    many = len(accounts)
    most = cluster.accounts[accounts[0]]
    who = "one account"
    if many > 1:
        who = f"{many}{' or more' if many == _MOST_ACCOUNTS else ''} accounts ({most} of the first)"
    minutes = (cluster.last - cluster.first) / 60_000
    labels = f"{len(cluster.labels)} label{'s' * (len(cluster.labels) != 1)}"
    why = (
        f"{cluster.queries} different queries of {who} within {minutes:.0f} minutes hang together by near-duplicates; "
        f"they got {labels}, {cluster.refused} were refused and {cluster.locked} locked"
    )
    figures = {
        "queries": cluster.queries,
        "accounts": many,
        "of_first": most,
        "labels": len(cluster.labels),
        "refused": cluster.refused,
        "locked": cluster.locked,
        "repeated": cluster.repeated,
        "minutes": minutes,
    }
    named = tuple(name for name in accounts[:SHOWN] if name)
    return Suspicion(named, why, figures, cluster.sample.entries, cluster.sample.of)
