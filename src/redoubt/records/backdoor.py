"""What a policy says of the backdoor game: how large a trigger may be, and to which classes it may lead."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from redoubt.records.base import Record
from redoubt.records.quantities import Part
from redoubt.records.requirement import BoundField, Requirement

TriggerStrategy = Literal["neural-cleanse", "pixel", "squares"]


class WithinTrigger(Record):
    """A trigger of any pixels, the same at the same place on every input."""

    patch: Annotated[Part, Field(gt=0, le=0.5)] = Field(
        description="The pixels that a trigger may change, as a share of the image's: `5 %`. They need not be a square."
    )


class BackdoorRequirement(Requirement):
    """The adversary may know a hidden trigger; one is searched that sends inputs of all classes to one."""

    measures = ("attack_success",)

    game: Literal["backdoor"] = Field(description="The security game that is played.")
    within: WithinTrigger = Field(description="How large a trigger may be.")
    require: BoundField = Field(
        description="The bound that must hold: `attack_success <= 0.2`, the share of held-out inputs of other classes, "
        "rightly answered without the trigger, that the best trigger found sends to its class."
    )
    targets: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None, min_length=1, description="The classes to which a trigger may lead. All of them when absent."
    )
    strategies: tuple[TriggerStrategy, ...] | None = Field(
        default=None, min_length=1, description="Play only these. All of them when absent."
    )

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        for key, names in (("targets", self.targets), ("strategies", self.strategies)):
            if names and len(set(names)) < len(names):
                raise ValueError(f"{key} names one twice")
        return self
