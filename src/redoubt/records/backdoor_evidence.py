"""What a verdict on a backdoor requirement rests on."""

from typing import Annotated, Literal

from pydantic import Field

from redoubt.records.base import Record
from redoubt.records.evidence import Measured, RequirementEvidence, Share
from redoubt.records.work import Count


class TriggerOutcome(Record):
    """What one strategy found for one class."""

    strategy: str
    target: Count = Field(description="The class.")
    searched: Share = Field(description="Share of the inputs of other classes, of those it searched with, that went.")
    held_out: Measured = Field(description="`attack_success` on the inputs that it did not see.")
    pixels: Count = Field(description="How many the trigger changes.")
    size: float | None = Field(
        default=None, description="Of the smallest trigger of any area that was found; absent where there was none."
    )


class BrokenSearch(Record):
    """A strategy that could not be played to its end."""

    strategy: str
    why: str


class BackdoorEvidence(RequirementEvidence):
    """What a backdoor requirement rests on."""

    game: Literal["backdoor"] = "backdoor"
    within: str
    pixels: Annotated[int, Field(gt=0)] = Field(description="The most that a trigger may change.")
    measures: tuple[Measured, ...]
    searched: Count = Field(description="Inputs that triggers were searched with.")
    held_out: Count = Field(description="Inputs that they were judged on.")
    outcomes: tuple[TriggerOutcome, ...]
    best: TriggerOutcome | None = Field(
        default=None, description="The one that succeeded most on the inputs searched with; it alone is judged."
    )
    broken: tuple[BrokenSearch, ...] = ()
    reach: Share | None = Field(
        default=None, description="Success of triggers that may cover the whole input: a working search comes near 1."
    )
    anomaly: float | None = Field(
        default=None,
        description="How far the size of the class's smallest trigger lies below the median of all classes', in robust "
        "deviations (Neural Cleanse): above 2 speaks for a planted backdoor rather than a natural one.",
    )
    tensors: tuple[str, ...] = Field(default=(), description="Keys: the trigger, then inputs that wear it.")

    @property
    def shown(self) -> tuple[str, ...]:
        return self.tensors
