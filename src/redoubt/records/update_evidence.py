"""What the update gate measured of a candidate, and what came of it: one file of canonical JSON for each."""

from typing import Annotated, Literal

from pydantic import Field

from redoubt.records.base import Record
from redoubt.records.decision import Digest
from redoubt.records.evidence import Verdict

Count = Annotated[int, Field(ge=0)]
Among = Literal["held_out", "queries", "batch"]
Against = Literal["current", "anchor", "stored"]
Stand = Literal["holds", "broken", "open", "too few"]
Outcome = Literal["accepted", "refused", "person"]


class ClassCounts(Record):
    """Of one class k.

    Attributes:
        rows: inputs whose true class is k; 0 where truth is not known.
        lost: of them, answered rightly before and wrongly now.
        won: the other way round.
        left: inputs, of any class, that were given class k before and are given another now.
        came: the other way round.
    """

    rows: Count
    lost: Count
    won: Count
    left: Count
    came: Count


class Compared(Record):
    """Counts of one comparison: the answers of a candidate beside other answers to the same inputs.

    Attributes:
        among: the inputs.
        against: whose the other answers are: of the model in force (`current`), of the last one that a person vouched
            for (`anchor`), or those that were given at the time (`stored`).
        rows: N, inputs compared.
        changed: inputs that are given another class.
        unsound: inputs that the candidate answers with NaN or infinity.
        truth: whether true classes are known.
        drift, drift_variance: mean and variance over inputs of the total variation between the two models'
            probabilities, in 0..1; None where only classes are known.
        classes: K counts.
    """

    among: Among
    against: Against
    rows: Annotated[int, Field(gt=0)]
    changed: Count
    unsound: Count = 0
    truth: bool
    drift: Annotated[float, Field(ge=0, le=1)] | None = None
    drift_variance: Annotated[float, Field(ge=0, le=1)] | None = None
    classes: Annotated[tuple[ClassCounts, ...], Field(max_length=100_000)]


class BatchCounts(Record):
    """Of a training batch.

    Attributes:
        rows: examples.
        contradicted: of them, labelled otherwise than the model in force answers.
    """

    rows: Annotated[int, Field(gt=0)]
    contradicted: Count


class Reassessed(Record):
    """One requirement, assessed again on a small budget.

    Attributes:
        id: of the requirement.
        verdict: as an assessment words it.
        reason: in sentences.
        keeps: whether the measured value, its interval apart, keeps the bound; None where nothing was measured.
    """

    id: str
    verdict: Verdict
    reason: Annotated[str, Field(max_length=10_000)]
    keeps: bool | None


class Observed(Record):
    """All that comes back from a candidate's process.

    Attributes:
        model: digest of the candidate as loaded.
        compared: the comparisons.
        batch: of the training batch, if there was one.
        requirements: those that were assessed again.
    """

    model: Digest
    compared: Annotated[tuple[Compared, ...], Field(max_length=8)]
    batch: BatchCounts | None = None
    requirements: Annotated[tuple[Reassessed, ...], Field(max_length=1000)] = ()


class Range(Record):
    """A two-sided confidence interval for a difference of shares, or a share."""

    low: Annotated[float, Field(ge=-1, le=1)]
    high: Annotated[float, Field(ge=-1, le=1)]
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95


class Change(Record):
    """One measure of how far a candidate moved.

    Attributes:
        measure: see `redoubt.records.update.UPDATE_MEASURES`.
        among, against: see `Compared`.
        trials: inputs counted.
        value: as measured.
        interval: 95 %; for measures that are greatest of several, of all of them together.
        bound: the most that is allowed; None if the policy does not bound it.
        stand: `holds` with the whole interval, `broken` with the whole interval, `open` otherwise; `too few` where so
            few past queries could not have held it whatever they said.  None without a bound.
        label: the class that a greatest value belongs to.
    """

    measure: str
    among: Among
    against: Against
    trials: Annotated[int, Field(gt=0)]
    value: float
    interval: Range
    bound: float | None = None
    stand: Stand | None = None
    label: int | None = None


class UpdateEvidence(Record):
    """What came of one candidate.

    Attributes:
        redoubt: version.
        id: of the candidate, among all of this policy.
        kind: `weights` for a model's file, `batch` for examples that were learnt.
        system: of the policy.
        outcome: `accepted`, `refused`, or `person`, who has to decide.
        reasons: of the outcome, in sentences; never empty.
        candidate: digest of the file that was handed in.
        weights: digest of the model's file that would be in force; None if none came about.
        model, current, anchor: digests of the models, as the guard's log has them.
        policy: digest of the policy text in force.
        changes: what was measured.
        requirements: see `Reassessed`.
        sandbox: what confined the candidate's process.
        versions: of the libraries that do the arithmetic.
    """

    redoubt: str
    id: str
    kind: Literal["weights", "batch"]
    system: str
    outcome: Outcome
    reasons: Annotated[tuple[str, ...], Field(min_length=1)]
    candidate: Digest
    weights: Digest | None
    model: Digest | None
    current: Digest | None
    anchor: Digest | None
    policy: Digest
    changes: tuple[Change, ...] = ()
    requirements: tuple[Reassessed, ...] = ()
    sandbox: dict[str, str] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
