"""Two models' answers to the same inputs, counted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from redoubt.records import BatchCounts, ClassCounts, Compared
from redoubt.records.update_evidence import Against, Among

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Said:
    """What a model says to N inputs.

    Attributes:
        labels: int64 `[N]`; -1 where it refuses or its scores are not numbers, which is a class of its own.
        probabilities: float64 `[N, K]`, or None where only labels are known; rows of label -1 are not looked at.
        unsound: bool `[N]`, where it answers NaN or infinity without refusing; None for nowhere.
    """

    labels: Labels
    probabilities: NDArray[np.float64] | None = None
    unsound: NDArray[np.bool_] | None = None


def compare(before: Said, now: Said, classes: int, among: Among, against: Against, truth: Labels | None) -> Compared:
    """Count how a candidate's answers differ.

    Args:
        before: the other answers.
        now: the candidate's.
        classes: K.
        among: which inputs these are, for the record.
        against: whose the other answers are, for the record.
        truth: true classes, int64 `[N]`, or None.

    Raises:
        ValueError: there are no inputs.
    """
    rows = len(now.labels)
    if rows == 0:
        raise ValueError("nothing to compare")
    changed = before.labels != now.labels
    right = [said.labels == truth for said in (before, now)] if truth is not None else None
    counts = []
    for label in range(classes):
        had, has = before.labels == label, now.labels == label
        mine = (truth == label) if truth is not None else np.zeros(rows, dtype=bool)
        counts.append(
            ClassCounts(
                rows=int(mine.sum()),
                lost=int((mine & right[0] & ~right[1]).sum()) if right else 0,
                won=int((mine & ~right[0] & right[1]).sum()) if right else 0,
                left=int((had & ~has).sum()),
                came=int((has & ~had).sum()),
            )
        )
    drift = _drift(before, now)
    return Compared(
        among=among,
        against=against,
        rows=rows,
        changed=int(changed.sum()),
        unsound=0 if now.unsound is None else int(now.unsound.sum()),
        truth=truth is not None,
        drift=None if drift is None else float(min(drift.mean(), 1.0)),
        drift_variance=None if drift is None else float(min(drift.var(ddof=1), 1.0)) if rows > 1 else 0.0,
        classes=tuple(counts),
    )


def against_stored(stored: Labels, now: Said, classes: int) -> Compared:
    """Count how a candidate's answers differ from the labels that were given at the time, int64 `[N]`."""
    return compare(Said(stored), now, classes, "queries", "stored", None)


def contradicted(said: Said, labels: Labels) -> BatchCounts:
    """How many labels of a training batch, int64 `[N]`, the model in force contradicts."""
    return BatchCounts(rows=len(labels), contradicted=int((said.labels != labels).sum()))


def _drift(before: Said, now: Said) -> NDArray[np.float64] | None:
    """Total variation between the two models' probabilities for each input: 1 where one answers and one does not."""
    if before.probabilities is None or now.probabilities is None:
        return None
    silent = [said.labels < 0 for said in (before, now)]
    p, q = (
        np.where(mute[:, None], 0.0, said.probabilities)
        for said, mute in zip((before, now), silent, strict=True)
        if said.probabilities is not None
    )
    distance = np.clip(np.abs(p - q).sum(axis=1) / 2, 0.0, 1.0)
    distance[silent[0] != silent[1]] = 1.0
    return np.asarray(distance, dtype=np.float64)
