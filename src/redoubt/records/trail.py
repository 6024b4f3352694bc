"""The trail from one decision to the training points that carried it."""

from typing import Annotated, Literal

from pydantic import Field

from redoubt.records.base import Record
from redoubt.records.decision import Digest

Ranking = Literal["tracin", "representer", "neighbours"]
Proved = Literal["input", "digest", "fingerprint"]


class TrailPoint(Record):
    """One training point.

    Attributes:
        row: its place in the training data, from 0.
        label: its label.
        answer: what the model says to it; a mislabelled point is often answered otherwise.
        digest: of its values, as the guard's log digests inputs.
        tracin, representer: influence on the label that was decided; None where they were not computed.
        similarity: cosine similarity to the input in the layer before the last, -1 to 1.
    """

    row: Annotated[int, Field(ge=0)]
    label: int
    answer: int
    digest: Digest
    tracin: float | None = None
    representer: float | None = None
    similarity: float


class Trail(Record):
    """What carried a decision.

    Attributes:
        log: name of the log; `index` and `leaf` of the entry in it.
        at: milliseconds since 1970-01-01 UTC.
        policy, model: digests that the entry names, and that were loaded for this.
        label: what the model answered.
        input: digest of the input.
        proved: how it is known to be the one: it stood in the log, its digest does, or its fingerprint does.
        by: what the points are ordered by.
        agrees: whether the layer that was fitted for the representer points answers the same; None without them.
        train: the training data, and their digest.
        points: strongest first.
    """

    log: str
    index: Annotated[int, Field(ge=0)]
    leaf: str
    at: int
    policy: Digest
    model: Digest
    label: int
    input: Digest
    proved: Proved
    by: Ranking
    agrees: bool | None = None
    train: str
    train_digest: Digest
    points: tuple[TrailPoint, ...]
