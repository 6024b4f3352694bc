"""What a verdict on a poisoning requirement rests on."""

from typing import Annotated, Literal

from pydantic import Field

from redoubt.records.base import Record
from redoubt.records.evidence import Figure, RequirementEvidence, Share
from redoubt.records.work import Count


class PoisoningOutcome(Record):
    """What one strategy brought about."""

    strategy: str
    aware: bool | None = Field(
        default=None, description="Whether the adversary knew the check of the data; none where there was no check."
    )
    parameters: dict[str, bool | int | float | str | None]
    measures: tuple[Figure, ...] = Field(description="Of this strategy alone, at 95 % each; none if it broke.")
    rows: Count = Field(default=0, description="Rows that it changed, the most of all its poisons.")
    caught: Share | None = Field(default=None, description="Share of them that the check of the data left out.")
    broke: str | None = Field(default=None, description="Why the strategy could not be played to its end.")

    @property
    def played(self) -> str:
        """The strategy, and whether it knew the check if there was one."""
        return self.strategy if self.aware is None else f"{self.strategy}, {'aware' if self.aware else 'unaware'}"


class PoisonedTarget(Record):
    """One test input that was to be answered otherwise, and how many victims do."""

    row: Count = Field(description="Row in the test data as taken.")
    label: Count
    wanted: Count
    flipped: dict[str, Count] = Field(description="Strategy, as it was played, to victims that answer as wanted.")
    tensor: str = Field(description="Key of the input in `examples.safetensors`.")


class Victims(Record):
    """The models that were trained, and how like the assessed model they are where nobody interferes."""

    source: str = Field(description="What was trained.")
    models: Count = Field(description="How many for each poisoned data set.")
    accuracy: Share = Field(description="On test inputs, trained on clean data: the mean.")
    model: Share = Field(description="The assessed model's own.")


class PoisoningEvidence(RequirementEvidence):
    """What a poisoning requirement rests on."""

    game: Literal["poisoning"] = "poisoning"
    source: str = Field(description="Where the training data are from.")
    digest: str = Field(description="Of the clean training data, `sha256:<hex>`.")
    rows: Annotated[int, Field(gt=0)] = Field(description="Of the training data.")
    most: Annotated[int, Field(gt=0)] = Field(description="Of them, how many the adversary may change.")
    victims: Victims
    neighbours: int | None = Field(default=None, description="Of the check that the data went through, if any.")
    lost: Share | None = Field(default=None, description="Share of honest rows that the check left out: the mean.")
    outcomes: tuple[PoisoningOutcome, ...]
    strongest: str | None = Field(default=None, description="What did most, by the required measure, as it was played.")
    targets: tuple[PoisonedTarget, ...] = ()

    @property
    def shown(self) -> tuple[str, ...]:
        return tuple(one.tensor for one in self.targets)
