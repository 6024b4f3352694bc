"""What honest customers' queries look like: accounts played with the policy's test data."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from redoubt.detectors.fingerprints import NOTHING
from redoubt.service.analyse.memory.coverage import coverage_of, distinct_share
from redoubt.service.analyse.memory.prints import Prints
from redoubt.service.analyse.reference import Points
from redoubt.service.analyse.statistics.distances import log_abnormality, nearest_same_label
from redoubt.service.analyse.statistics.significance import highest_chance

BLOCK = 100  # queries that are looked at together
_FEWEST = 20  # queries that are played
_LEAST_SPREAD = 0.005  # of coverage between honest accounts
_MOST_OF_CLASS = 2 / 3  # of the data of one class that a customer may send: else all played ones send the same


class HonestCustomers:
    """Plays accounts that send test data with given classes.

    How much natural inputs have in common depends on their classes: eights share fewer windows than ones.  So an
    account is compared with played ones that send as many of each class, and a customer of few classes is no suspect
    for that.

    Args:
        points: the inputs that are drawn from; no account sends one twice.
        alike: share of hashes in common that makes two queries alike.
        seed: of the draws.

    Attributes:
        alike: the greatest chance, compatible with the data, that a query is alike to one of the 100 before it,
            whether classes come mixed or one after the other.
    """

    def __init__(self, points: Points, alike: float, seed: int = 0) -> None:
        self._points = points
        self._rng = np.random.default_rng(seed)
        self._of_class = {int(label): np.flatnonzero(points.labels == label) for label in np.unique(points.labels)}
        mixed, sorted_ = self._rng.permutation(len(points)), np.argsort(points.labels, kind="stable")
        self.alike = max(_alike_chance(points.hashes[order], alike) for order in (mixed, sorted_))

    def coverage(self, classes: Mapping[int, int], players: int) -> NDArray[np.float64] | None:
        """Coverage (see `Coverage`) of played accounts.

        Args:
            classes: how many queries of each label they sent.
            players: how many accounts are played, M.

        Returns:
            float64 `[M]`, or None if there are too few data of a class.
        """
        if self._fitting(classes) != classes:
            return None
        return np.array([coverage_of(self._points.hashes[self._draw(classes)]) for _ in range(players)])

    def block_coverage(self, labels: Mapping[int, int], blocks: int, players: int) -> NDArray[np.float64] | None:
        """Mean coverage within so many blocks of `BLOCK` queries, of played accounts.

        If there are too few data of a class for a block, smaller ones are played.  In these, fewer hashes come again,
        so that an account that is compared with them looks more usual than it is.

        Args:
            labels: how many queries got each label in all.
            blocks: how many there were.
            players: how many accounts are played, M.

        Returns:
            float64 `[M]`, or None if there are hardly any data of a class.
        """
        classes = self._fitting(in_block(labels))
        if classes is None:
            return None
        return np.array([np.mean([self._block(classes) for _ in range(blocks)]) for _ in range(players)])

    def abnormality(self, labels: Mapping[int, int], windows: int, players: int) -> NDArray[np.float64] | None:
        """Mean abnormality (see `log_abnormality`) over so many windows of `BLOCK` queries, of played accounts.

        If there are too few data of a class, smaller windows are played, whose W is smaller by chance.

        Args:
            labels: how many queries got each label in all.
            windows: how many there were.
            players: how many accounts are played, M.

        Returns:
            float64 `[M]`, or None if there are hardly any data of a class.
        """
        classes = self._fitting(in_block(labels))
        if classes is None:
            return None
        scores = np.array([[self._abnormality(classes) for _ in range(windows)] for _ in range(players)])
        means = scores.mean(axis=1)
        return None if np.isnan(means).any() else means

    def _fitting(self, classes: Mapping[int, int]) -> Mapping[int, int] | None:
        """These classes in the same proportions, as many as there are data for."""
        share = min(_MOST_OF_CLASS * len(self._of_class.get(label, ())) / n for label, n in classes.items())
        if share >= 1:
            return classes
        fewer = {label: int(n * share) for label, n in classes.items()}
        return {label: n for label, n in fewer.items() if n} if sum(fewer.values()) >= _FEWEST else None

    def _draw(self, classes: Mapping[int, int]) -> NDArray[np.int64]:
        rows = [self._rng.choice(self._of_class[label], n, replace=False) for label, n in sorted(classes.items())]
        return self._rng.permutation(np.concatenate(rows))

    def _block(self, classes: Mapping[int, int]) -> float:
        hashes = self._points.hashes[self._draw(classes)]
        return distinct_share(hashes[hashes != NOTHING])

    def _abnormality(self, classes: Mapping[int, int]) -> float:
        rows = self._draw(classes)
        return log_abnormality(nearest_same_label(self._points.x[rows], self._points.labels[rows]))


def above(sample: NDArray[np.float64], score: float) -> float:
    """Probability that one more account scores so high, if scores are close to normal as averages over queries are.

    The prediction interval of Student's t: with M played accounts, their mean and spread are known only roughly.
    """
    m, spread = len(sample), float(sample.std(ddof=1))
    if spread <= 0:
        return 1.0 if score <= sample[0] else 1 / (m + 1)
    return float(stats.t.sf((score - sample.mean()) / spread / np.sqrt(1 + 1 / m), m - 1))


def above_others(others: NDArray[np.float64], score: float) -> float:
    """As `above`, from accounts some of which may be attackers: by their median and median deviation."""
    middle = float(np.median(others))
    spread = max(1.4826 * float(np.median(np.abs(others - middle))), _LEAST_SPREAD)
    return float(stats.t.sf((score - middle) / spread, len(others) - 1))


def in_block(labels: Mapping[int, int]) -> dict[int, int]:
    """How many of `BLOCK` queries get which label, if labels come as often as these.

    >>> in_block({3: 20, 5: 20, 7: 1})
    {3: 49, 5: 49, 7: 2}
    """
    total = sum(labels.values())
    mean = {label: round(count * BLOCK / total) for label, count in labels.items()}
    return {label: count for label, count in mean.items() if count}


def _alike_chance(prints: NDArray[np.uint64], alike: float) -> float:
    latest: Prints[None] = Prints(BLOCK, alike)
    found = 0
    for row in prints:
        hashes = row[row != NOTHING]
        found += bool(latest.alike_to(hashes))
        latest.add(hashes, None)
    return highest_chance(found, len(prints))
