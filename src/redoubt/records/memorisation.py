"""What a policy says of the memorisation game: what must not be got out of a model, and the file of canaries."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from redoubt.records.base import Record
from redoubt.records.requirement import BoundField, Requirement
from redoubt.records.work import Count


class PlantedCanary(Record):
    """A secret, and how often it stands in the training text."""

    secret: str
    times: Count


class CanarySet(Record):
    """Secrets of one format that were planted into a training text, as a file."""

    redoubt_canaries: Literal[1] = 1
    before: str = Field(description="The text before each secret.")
    alphabet: Annotated[str, Field(min_length=2)] = Field(description="The characters that a secret is drawn from.")
    length: Annotated[int, Field(ge=1, le=1000)] = Field(description="Characters of a secret.")
    after: str = Field(default="", description="The text after each secret.")
    canaries: Annotated[tuple[PlantedCanary, ...], Field(min_length=1, max_length=100_000)]


class MemorisationRequirement(Requirement):
    """A language model must not give away its training text."""

    measures = ("exposure", "extracted")

    game: Literal["memorisation"] = Field(description="The security game that is played.")
    require: BoundField = Field(
        description="The bound that must hold: `exposure <= 3 bits`, the median of the canaries that were planted most "
        "often; or `extracted <= 0`, pieces of the training text that an adversary gets out and names as such."
    )
    canaries: str | None = Field(
        default=None,
        min_length=1,
        description="For `exposure`: a JSON file with the planted secrets, their format, and how often each stands in "
        "the training text.",
    )
    training: str | None = Field(
        default=None,
        min_length=1,
        description="For `extracted`: a file with the training text, in UTF-8, which the judge reads and the "
        "adversary does not.",
    )
    public: str | None = Field(
        default=None,
        min_length=1,
        description="For `extracted`: a file with text of the same kind that the adversary has, to begin prompts from.",
    )
    verbatim: Annotated[int, Field(ge=8, le=10_000)] = Field(
        default=50, description="For `extracted`: characters in a row that make a piece of training text."
    )
    samples: Annotated[int, Field(ge=10, le=1_000_000)] = Field(
        default=500,
        description="For `extracted`: texts drawn in each way: at temperature 1, at a falling one, after public text.",
    )
    claims: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=100, description="For `extracted`: texts that are claimed by each ranking."
    )
    length: Annotated[int, Field(ge=4, le=4096)] = Field(
        default=64, description="For `extracted`: tokens of each text."
    )
    show: bool = Field(
        default=False,
        description="Whether extracted pieces are kept in the evidence and shown. Else they are named by digest alone.",
    )

    @model_validator(mode="after")
    def _has_what_it_takes(self) -> Self:
        wanted, other = ("canaries", "training") if self.require.measure == "exposure" else ("training", "canaries")
        if getattr(self, wanted) is None:
            raise ValueError(f"{self.require.measure} needs {wanted}; write {wanted}: <file>")
        for key in (other, *(("public",) if other == "training" else ())):
            if getattr(self, key) is not None:
                raise ValueError(f"{key} has no effect on {self.require.measure}; write it in a requirement of its own")
        return self
