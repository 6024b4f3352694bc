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
    """

    sense: Literal[">=", "<="]
    words: str
    says: str


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
}
"""Every measure of every game.  Which game has which, the requirements of the games say."""

_BOUND = re.compile(r"\s*([a-z_0-9.]+)\s*(>=|<=)\s*([0-9.eE+-]+)\s*(%?)\s*")


class Bound(Record):
    """A bound on one measure: `robust_accuracy >= 0.85`."""

    measure: str
    sense: Literal[">=", "<="]
    value: Annotated[float, Field(ge=0, le=1)]

    @classmethod
    def parse(cls, text: object) -> object:
        """Read `<measure> >= <value>`; percentages are written `85 %`."""
        if not isinstance(text, str):
            return text
        match = _BOUND.fullmatch(text)
        if match is None:
            raise ValueError(f"expected '<measure> >= <number>', for example 'robust_accuracy >= 0.85', got '{text}'")
        measure, sense, number, percent = match.groups()
        meaning = MEASURES.get(measure)
        if meaning is None:
            raise ValueError(f"unknown measure '{measure}'; expected one of {', '.join(MEASURES)}")
        if sense != meaning.sense:
            raise ValueError(
                f"'{measure}' is bounded from the other side: write '{measure} {meaning.sense} {number}{percent}'"
            )
        try:
            value = float(number) / (100 if percent else 1)
        except ValueError:
            raise ValueError(f"'{number}' is not a number") from None
        if not 0 <= value <= 1 or not math.isfinite(value):
            raise ValueError(f"a share lies between 0 and 1 (or 0 % and 100 %), got '{number}{percent}'")
        return {"measure": measure, "sense": sense, "value": value}

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.measure not in MEASURES or self.sense != MEASURES[self.measure].sense:
            raise ValueError(f"'{self.measure} {self.sense}' bounds nothing that is measured")
        return self

    def __str__(self) -> str:
        return f"{self.measure} {self.sense} {self.value!r}"


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
