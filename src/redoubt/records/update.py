"""The update gate's part of a policy: how far a candidate may move from the model that is in force."""

import math
import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from redoubt.records.base import Record
from redoubt.records.data import DataSourceField
from redoubt.records.quantities import Bytes, Seconds

UPDATE_MEASURES: dict[str, str] = {
    "accuracy_drop": "accuracy on held-out data, of the model in force less the candidate's",
    "disagreement": "share of inputs to which the candidate gives another class than the model in force",
    "negative_flips": "share of held-out data that the model in force answers rightly and the candidate wrongly",
    "class_shift": "greatest drop of accuracy within one class of the held-out data",
    "share_shift": "greatest change of the share of inputs that are given one class",
    "output_drift": "mean total variation between the two models' probabilities for an input",
    "stored_changes": "share of past queries of the guard's log that the candidate answers otherwise than was answered",
    "contradicted": "share of a training batch whose label the model in force contradicts",
}
"""What can be bounded, and what it is.  All are shares, and bounded from above."""

_BOUND = re.compile(r"\s*([a-z_]+)\s*<=\s*([0-9.eE+-]+)\s*(%?)\s*")


class UpdateBound(Record):
    """The most that one measure may be: `disagreement <= 5 %`."""

    measure: str
    value: Annotated[float, Field(ge=0, lt=1)]

    @classmethod
    def parse(cls, text: object) -> object:
        """Read `<measure> <= <number>`; percentages are written `5 %`."""
        if not isinstance(text, str):
            return text
        match = _BOUND.fullmatch(text)
        if match is None:
            raise ValueError(f"expected '<measure> <= <number>', got '{text}'; write for example 'disagreement <= 5 %'")
        measure, number, percent = match.groups()
        if measure not in UPDATE_MEASURES:
            raise ValueError(f"unknown measure '{measure}'; write one of {', '.join(UPDATE_MEASURES)}")
        try:
            value = float(number) / (100 if percent else 1)
        except ValueError:
            raise ValueError(f"'{number}' is not a number; write for example '{measure} <= 5 %'") from None
        if not 0 <= value < 1 or not math.isfinite(value):
            raise ValueError(f"'{number}{percent}' bounds nothing; write a share from 0 to less than 1 (or 100 %)")
        return {"measure": measure, "value": value}

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.measure not in UPDATE_MEASURES:
            raise ValueError(f"'{self.measure}' is nothing that is measured")
        return self

    def __str__(self) -> str:
        return f"{self.measure} <= {self.value!r}"


UpdateBoundField = Annotated[
    UpdateBound,
    BeforeValidator(UpdateBound.parse),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": rf"^({'|'.join(UPDATE_MEASURES)}) <= .+$"}),
]


def _bound(measure: str, value: float) -> UpdateBound:
    return UpdateBound(measure=measure, value=value)


class Learning(Record):
    """How a batch of new examples is learnt, on a copy of the model that is in force."""

    epochs: Annotated[int, Field(gt=0, le=1000)] = Field(default=1, description="Passes over the batch.")
    batch: Annotated[int, Field(gt=0)] = Field(default=32, description="Examples per step.")
    optimizer: Literal["adam", "sgd"] = Field(default="sgd", description="`sgd` has momentum 0.9.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(default=0.01, description="Learning rate.")
    replay: Annotated[float, Field(ge=0, le=100)] = Field(
        default=1.0,
        description="Examples of `data.train` that are learnt again beside each new one, so that they are not "
        "forgotten. 0 learns the new ones alone.",
    )


class UpdateLimits(Record):
    """What a candidate's process may use."""

    time: Annotated[Seconds, Field(gt=0)] = Field(default=600.0, description="By the clock: `10 min`.")
    memory: Annotated[Bytes, Field(gt=0)] = Field(default=8.0 * 2**30, description="Address space: `8 GiB`.")


class Reassess(Record):
    """How much is spent on the policy's requirements.  Few examples find a candidate that is clearly broken."""

    examples: Annotated[int, Field(gt=0)] = Field(default=50, description="Examples of the held-out data.")
    passes: Annotated[int, Field(gt=0)] = Field(
        default=300, description="Passes and queries on each input, or fewer if the adversary's budget is smaller."
    )


class Update(Record):
    """When `redoubt update` puts a candidate in force, refuses it, or asks a person."""

    bounds: Annotated[tuple[UpdateBoundField, ...], Field(min_length=1)] = Field(
        default=(
            _bound("accuracy_drop", 0.01),
            _bound("disagreement", 0.05),
            _bound("negative_flips", 0.02),
            _bound("class_shift", 0.05),
        ),
        description="`<measure> <= <share>`: what must hold with its whole 95 % interval. Measures are "
        + "; ".join(f"`{name}`: {says}" for name, says in UPDATE_MEASURES.items())
        + ".",
    )
    total: Annotated[float, Field(ge=1)] | None = Field(
        default=3.0,
        description="So many times each bound may be used up, by all updates together since a person vouched for the "
        "model. `null` does not count them together: then many small steps lead anywhere.",
    )
    requirements: Literal["hold", "ignore"] = Field(
        default="hold",
        description="`hold`: evasion requirements of the policy are assessed again on a small budget, and none may be "
        "violated.",
    )
    reassess: Reassess = Field(default=Reassess(), description="The small budget.")
    held_out: DataSourceField | None = Field(
        default=None, description="Labelled data that no candidate has learnt from. `data.test` when absent."
    )
    queries: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=2000,
        description="Latest past queries to compare on, where the guard's log keeps inputs; of one account at most a "
        "tenth of them, so that nobody can choose what is compared.",
    )
    learn: Learning = Field(default=Learning(), description="How a batch of examples is learnt.")
    limits: UpdateLimits = Field(default=UpdateLimits(), description="Limits on the process that a candidate runs in.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        measures = [bound.measure for bound in self.bounds]
        for at, measure in enumerate(measures):
            if measure in measures[:at]:
                raise ValueError(f"bounds[{at}]: {measure} is bounded already; write it once")
        return self
