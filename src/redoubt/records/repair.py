"""What a repair leaves behind: which class was suspected, how hard it was and is to reach, and what it cost."""

from typing import Annotated

from pydantic import Field

from redoubt.records.base import Record
from redoubt.records.hardening import Share
from redoubt.records.work import Count

Ratio = Annotated[float, Field(ge=0)]


class ScannedFamily(Record):
    """The smallest triggers of one family, one for each class that was compared."""

    family: str
    sizes: dict[int, Ratio | None] = Field(
        description="Class to the size of its trigger, in the family's unit; null where none was found."
    )
    index: float = Field(description="Anomaly index of the class that stands out most: above 2 speaks for a backdoor.")
    easiest: Count = Field(description="The class that stands out most.")


class RepairRound(Record):
    """One round: triggers were inverted, and unlearnt."""

    number: Annotated[int, Field(gt=0)]
    hardness: Ratio | None = Field(description="As `Repair.hardness_before`, before this round's lesson.")
    accuracy: Share = Field(description="On held-out examples, after it.")
    kept: bool = Field(description="False if it cost more than was allowed, and was undone.")


class Repair(Record):
    """The evidence of one repair.

    Hardness compares the suspected class with the median of the others, as they were before the repair: how many times
    as large its smallest trigger is, in the family where that is least; null if no trigger was found at all.
    """

    redoubt: str
    system: str
    suspect: Count = Field(description="The class whose triggers were unlearnt.")
    named: bool = Field(description="Whether the class was given, and not found.")
    hardness_before: Ratio | None
    hardness_after: Ratio | None
    clean_before: Share = Field(description="Accuracy on held-out examples.")
    clean_after: Share = Field(description="Accuracy on the same ones, of the repaired model.")
    examples: Annotated[int, Field(gt=0)] = Field(description="How many were held out.")
    trained: Annotated[int, Field(gt=0)] = Field(description="How many others it was trained on.")
    rounds: tuple[RepairRound, ...]
    before: tuple[ScannedFamily, ...]
    after: tuple[ScannedFamily, ...]
    seed: int
    policy: str = Field(description="Digest of the policy's text.")
    data: str = Field(description="Digest of the trusted examples.")
    model_before: str = Field(description="Digest of the model as it was.")
    model_after: str = Field(description="Digest of the repaired model.")
    weights: str = Field(description="Digest of the weights file.")
    versions: dict[str, str]
    device: str
    seconds: Ratio
