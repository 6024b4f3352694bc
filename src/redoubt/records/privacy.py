"""What an audit of a privacy guarantee found."""

from typing import Annotated, Literal

from pydantic import Field

from redoubt.records.base import Record
from redoubt.records.evidence import Verdict
from redoubt.records.work import Count

Chance = Annotated[float, Field(ge=0, le=1)]


class PrivacyClaim(Record):
    """What is said to hold: epsilon at delta, and whose sum it is."""

    epsilon: Annotated[float, Field(ge=0)]
    delta: Annotated[float, Field(gt=0, lt=1)]
    by: str = Field(description="The accountant.")


class Guesses(Record):
    """One test of the adversary's, fixed on opened canaries or runs and tried on the others.

    One run: `positives` guesses "it was there", `negatives` "it was not", and how many of each were right.  Many
    runs: `positives` with the canary and `negatives` without it, and how many of each it told rightly.
    """

    distinguisher: str
    positives: Count
    right_positives: Count
    negatives: Count
    right_negatives: Count


class PrivacyAudit(Record):
    """A lower bound on epsilon beside the claimed upper one.

    `level` is the confidence of everything here together: the bound and the test of the claimed curve each miss with
    half of `1 - level` at most.

    Attributes:
        method: `one-run`, with many canaries, or `many-runs`, with one.
        canaries: planted; in each run.
        runs: trainings.
        tested: canaries, or runs of either world, that decided: those that were not opened.
        epsilon_lower_bound: at the claim's delta; no assumption.
        gaussian_epsilon: as much **if** the trade-off is a Gaussian's; None where it was not estimated.
        claim_chance: at most how likely what was found is if the whole claimed curve holds.
    """

    redoubt_privacy_audit: Literal[1] = 1
    method: Literal["one-run", "many-runs"]
    kind: str
    canaries: Count
    runs: Count
    tested: Count
    claim: PrivacyClaim
    level: Chance
    epsilon_lower_bound: Annotated[float, Field(ge=0)]
    bound_by: Guesses
    gaussian_epsilon: Annotated[float, Field(ge=0)] | None = None
    claim_chance: Chance
    claim_by: Guesses
    verdict: Verdict
    reason: str
