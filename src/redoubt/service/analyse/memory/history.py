"""What one account asked, as far as extraction shows in it, in bounded memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from redoubt.service.analyse.base import Row
from redoubt.service.analyse.honest import BLOCK
from redoubt.service.analyse.memory.accounts import Recent
from redoubt.service.analyse.memory.coverage import Coverage, distinct_share
from redoubt.service.analyse.memory.prints import Prints
from redoubt.service.analyse.memory.sample import Sample
from redoubt.service.analyse.statistics.distances import log_abnormality, nearest_same_label

CHECKPOINTS = frozenset(BLOCK * 2**i for i in range(7))  # 100 to 6400 queries
LOW = 0.05  # the credibility that one in twenty honest queries falls short of
_MOST_WINDOWS = 4
_MOST_DIGESTS = 512
_MOST_LABELS = 100


@dataclass(frozen=True)
class Look:
    """Coverage after some queries, and how many of them got which label."""

    coverage: float
    labels: Mapping[int, int]


@dataclass
class History:
    """What is kept of an account to the end.

    Attributes:
        account: its name.
        queries: different inputs that it asked.
        all: of these.
        prints: those with a fingerprint; `alike` those alike to one of the latest `BLOCK` before.
        curve: coverage after 100, 200, 400, … labelled queries with a fingerprint.
        blocks: coverage within each `BLOCK` of them, summed; `of_blocks` how many there were.
        judged: queries with a credibility; `low` those where it is below `LOW`.
        abnormal: abnormality of the first windows of `BLOCK` labelled inputs; `input_labels` how many got which label.
        labels: how many queries with a fingerprint got which label.
    """

    account: str
    queries: int = 0
    all: Sample = field(default_factory=Sample)
    prints: int = 0
    alike: Sample = field(default_factory=Sample)
    curve: dict[int, Look] = field(default_factory=dict)
    blocks: float = 0.0
    of_blocks: int = 0
    judged: int = 0
    low: Sample = field(default_factory=Sample)
    abnormal: list[float] = field(default_factory=list)
    input_labels: dict[int, int] = field(default_factory=dict)
    labels: dict[int, int] = field(default_factory=dict)


class Asking:
    """An account that still asks: its history, and what is needed to continue it.

    Args:
        account: its name.
        alike: share of hashes in common that makes two queries alike.
    """

    def __init__(self, account: str, alike: float) -> None:
        self.history = History(account)
        self._recent = Recent(_MOST_DIGESTS)
        self._latest: Prints[None] = Prints(BLOCK, alike)
        self._coverage = Coverage()
        self._covered = 0
        self._block: list[NDArray[np.uint64]] = []
        self._window: list[tuple[NDArray[np.float32], int]] = []

    @property
    def held(self) -> int:
        """Bytes of inputs that wait for their window to be full."""
        return sum(x.nbytes for x, _ in self._window)

    def take(self, row: Row, digest: bytes, *, inputs: bool) -> None:
        """One more query.

        Args:
            row: the decision on it.
            digest: of its input.
            inputs: whether there is room for the input itself.
        """
        if not self._recent.is_new(digest):
            return
        kept, label = self.history, row.entry.label
        kept.queries += 1
        kept.all.add(row.index)
        credibility = (row.entry.signals or {}).get("credibility")
        if credibility is not None:
            kept.judged += 1
            if credibility < LOW:
                kept.low.add(row.index)
        if row.hashes is not None and len(row.hashes):
            kept.prints += 1
            if self._latest.alike_to(row.hashes):
                kept.alike.add(row.index)
            self._latest.add(row.hashes, None)
            if label is not None and _count(kept.labels, label):
                self._cover(row.hashes)
        if row.x is not None and label is not None and inputs:
            self._measure(row.x, label)

    def _cover(self, hashes: NDArray[np.uint64]) -> None:
        self._coverage.add(hashes)
        self._covered += 1
        if self._covered in CHECKPOINTS:
            self.history.curve[self._covered] = Look(self._coverage.share, dict(self.history.labels))
        self._block.append(hashes)
        if len(self._block) == BLOCK:
            self.history.blocks += distinct_share(np.concatenate(self._block))
            self.history.of_blocks += 1
            self._block = []

    def _measure(self, x: NDArray[np.float32], label: int) -> None:
        if self._window and len(self._window[0][0]) != len(x):  # another model's
            self._window = []
        if len(self.history.abnormal) == _MOST_WINDOWS or not _count(self.history.input_labels, label):
            return
        self._window.append((x, label))
        if len(self._window) == BLOCK:
            xs, labels = np.stack([x for x, _ in self._window]), np.array([label for _, label in self._window])
            self._window = []
            score = log_abnormality(nearest_same_label(xs, labels))
            if not np.isnan(score):
                self.history.abnormal.append(score)


def _count(labels: dict[int, int], label: int) -> bool:
    """Count a label, unless it is one of too many."""
    if label not in labels and len(labels) >= _MOST_LABELS:
        return False
    labels[label] = labels.get(label, 0) + 1
    return True
