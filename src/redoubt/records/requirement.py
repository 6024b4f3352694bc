"""What a requirement of any game says: a bound on one measure, against one adversary."""

import math
import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from redoubt.records.base import Name, Record


@dataclass(frozen=True)
class Meaning:
    """How a measure is bounded, and what it says.

    Attributes:
        sense: the side from which it is bounded.
        words: its name in sentences.
        says: what the bound on it demands, as a sentence, for rules of scanners.
        unit: what it is counted in: `share`, 0 to 1; `bits`; `epsilon`, which stands `at delta`; `count`, from 0.
    """

    sense: Literal[">=", "<="]
    words: str
    says: str
    unit: Literal["share", "bits", "epsilon", "count"] = "share"


MEASURES: dict[str, Meaning] = {
    "robust_accuracy": Meaning(
        ">=",
        "robust accuracy",
        "The share of inputs that the model still answers rightly, whatever the adversary tries within its set and "
        "budget, is at least the bound.",
    ),
    "clean_accuracy": Meaning(
        ">=",
        "clean accuracy",
        "The share of inputs that the model answers rightly with nobody interfering is at least the bound.",
    ),
    "attack_success": Meaning(
        "<=",
        "attack success",
        "The share of rightly answered inputs that the adversary brings to a wrong answer, or in the backdoor game to "
        "the class of its trigger, is at most the bound.",
    ),
    "certified_accuracy": Meaning(
        ">=",
        "certified accuracy",
        "The share of inputs that the model answers rightly, with a proof that nothing in the set changes the answer, "
        "is at least the bound.",
    ),
    "tpr_at_fpr_0.001": Meaning(
        "<=",
        "members found at 0.1\u00a0% false alarms",
        "The share of training records that the adversary recognises, at one false alarm in a thousand other records, "
        "is at most the bound.",
    ),
    "tpr_at_fpr_0.01": Meaning(
        "<=",
        "members found at 1\u00a0% false alarms",
        "The share of training records that the adversary recognises, at one false alarm in a hundred other records, "
        "is at most the bound.",
    ),
    "membership_auc": Meaning(
        "<=",
        "membership AUC",
        "The probability that a training record looks more like one than another record does, to the adversary, is at "
        "most the bound; guessing has 0.5.",
    ),
    "targets_flipped": Meaning(
        "<=",
        "targets flipped",
        "The share of chosen test inputs that models answer as the adversary wants, once they were trained from "
        "scratch on data of which it changed a share, is at most the bound.",
    ),
    "accuracy_drop": Meaning(
        "<=",
        "accuracy drop",
        "Accuracy on test inputs falls by at most the bound when models are trained from scratch on data of which the "
        "adversary changed a share.",
    ),
    "epsilon": Meaning(
        "<=",
        "epsilon",
        "Adding or removing one record changes the probability of whatever the training releases by a factor of at "
        "most e to the bound, except for delta.",
        "epsilon",
    ),
    "exposure": Meaning(
        "<=",
        "exposure",
        "However often a secret stands in the training text, the model ranks it among all others like it no better "
        "than the bound allows: by at most so many bits more than guessing.",
        "bits",
    ),
    "extracted": Meaning(
        "<=",
        "training text extracted",
        "At most so many sequences of the training text can be got out of the model and named as such by somebody who "
        "does not have the text.",
        "count",
    ),
}
"""Every measure of every game.  Which game has which, the requirements of the games say."""

_BOUND = re.compile(r"\s*([a-z_0-9.]+)\s*(>=|<=)\s*([0-9.eE+-]+)\s*(%|bits?|)\s*(?:at\s+delta\s+([0-9.eE+-]+)\s*)?")


class Bound(Record):
    """A bound on one measure: `robust_accuracy >= 0.85`, `epsilon <= 3 at delta 1e-5`, `exposure <= 3 bits`.

    `value` is in the measure's unit; `delta` belongs to epsilon alone, which says nothing without it.
    """

    measure: str
    sense: Literal[">=", "<="]
    value: Annotated[float, Field(ge=0, le=1e6)]
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None

    @classmethod
    def parse(cls, text: object) -> object:
        """Read `<measure> >= <value>`; percentages are written `85 %`, and epsilon `<= 3 at delta 1e-5`."""
        if not isinstance(text, str):
            return text
        match = _BOUND.fullmatch(text)
        if match is None:
            raise ValueError(f"expected '<measure> >= <number>', for example 'robust_accuracy >= 0.85', got '{text}'")
        measure, sense, number, unit, delta = match.groups()
        meaning = MEASURES.get(measure)
        if meaning is None:
            raise ValueError(f"unknown measure '{measure}'; expected one of {', '.join(MEASURES)}")
        if sense != meaning.sense:
            raise ValueError(
                f"'{measure}' is bounded from the other side: write '{measure} {meaning.sense} {number}{unit}'"
            )
        value, at = _number(number), _number(delta) if delta else None
        _check_unit(measure, meaning, unit, number, at)
        if unit == "%":
            value /= 100
        if meaning.unit == "share" and not 0 <= value <= 1:
            raise ValueError(f"a share lies between 0 and 1 (or 0 % and 100 %), got '{number}{unit}'")
        if not 0 <= value <= 1e6:
            raise ValueError(f"{meaning.words} lies between 0 and a million, got '{number}'")
        return {"measure": measure, "sense": sense, "value": value, "delta": at}

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.measure not in MEASURES or self.sense != MEASURES[self.measure].sense:
            raise ValueError(f"'{self.measure} {self.sense}' bounds nothing that is measured")
        unit = MEASURES[self.measure].unit
        if (unit == "share" and self.value > 1) or (unit == "count" and not self.value.is_integer()):
            raise ValueError(f"{self.value} is no {unit}")
        if (unit == "epsilon") != (self.delta is not None):
            raise ValueError("delta belongs to epsilon, and epsilon to a delta")
        return self

    def __str__(self) -> str:
        unit = " bits" if MEASURES[self.measure].unit == "bits" else ""
        return f"{self.measure} {self.sense} {self.value!r}{unit}{f' at delta {self.delta!r}' if self.delta else ''}"


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"'{text}' is not a finite number")
    return value


def _check_unit(measure: str, meaning: Meaning, unit: str, number: str, delta: float | None) -> None:
    """Refuse a unit that the measure is not counted in, and epsilon without its delta."""
    fits = {"share": ("", "%"), "bits": ("bit", "bits"), "epsilon": ("",), "count": ("",)}[meaning.unit]
    wanted = {"bits": f"{number} bits", "epsilon": f"{number} at delta 1e-5"}.get(meaning.unit, number)
    if unit not in fits:
        raise ValueError(f"'{measure}' is a {meaning.unit}; write '{measure} {meaning.sense} {wanted}'")
    if meaning.unit == "epsilon" and delta is None:
        raise ValueError(f"epsilon says nothing without a delta; write '{measure} {meaning.sense} {wanted}'")
    if meaning.unit != "epsilon" and delta is not None:
        raise ValueError(f"'{measure}' has no delta; write '{measure} {meaning.sense} {wanted}'")
    if delta is not None and not 0 < delta < 1:
        raise ValueError(f"delta lies between 0 and 1, got {delta:g}; write '{measure} <= {number} at delta 1e-5'")
    if meaning.unit == "count" and not _number(number).is_integer():
        raise ValueError(f"'{measure}' is counted; write a whole number")


def _pattern() -> str:
    by_sense = {
        sense: "|".join(name.replace(".", "\\.") for name, meaning in MEASURES.items() if meaning.sense == sense)
        for sense in (">=", "<=")
    }
    return "|".join(f"^({names}) {sense} .+$" for sense, names in by_sense.items())


BoundField = Annotated[
    Bound,
    BeforeValidator(Bound.parse),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": _pattern()}),
]


class Requirement(Record):
    """One game against one adversary, and a bound on one measure of it.  Each game says more, in a record of its own.

    Attributes:
        measures: the measures that the game has.
    """

    measures: ClassVar[tuple[str, ...]] = ()

    id: Name = Field(description="A name for the requirement, of which there is only one in the policy.")
    game: str = Field(description="The security game that is played.")
    adversary: Name = Field(description="One of the names under `adversaries`.")
    require: BoundField = Field(description="The bound that must hold.")

    @model_validator(mode="after")
    def _is_measured(self) -> Self:
        if self.require.measure not in self.measures:
            raise ValueError(
                f"require names {self.require.measure}, which game '{self.game}' does not measure; "
                f"write one of {', '.join(self.measures)}"
            )
        return self
