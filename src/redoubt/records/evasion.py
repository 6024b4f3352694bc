"""What a requirement of the evasion game says."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from redoubt.records.requirement import BoundField, Requirement
from redoubt.records.within import Within

StrategyName = Literal[
    "random",
    "grid",
    "cascade",
    "worst-of-k",
    "worst-start",
    "worst-corruption",
    "patch-eot",
    "universal",
    "pgd",
    "apgd-ce",
    "apgd-dlr",
    "apgd-t",
    "adaptive",
    "square",
    "nes",
    "rays",
    "hopskipjump",
    "feature-search",
    "fmn",
    "sigma-zero",
    "deepfool",
    "carlini-wagner",
    "transfer",
]


class EvasionRequirement(Requirement):
    """Inputs are moved within a set, to be answered wrongly."""

    measures = ("robust_accuracy", "clean_accuracy", "attack_success", "certified_accuracy")

    game: Literal["evasion"] = Field(description="The security game that is played.")
    within: Within = Field(description="The set in which the adversary may move each input.")
    require: BoundField = Field(
        description="The bound that must hold: `robust_accuracy >= 0.85`, `clean_accuracy >= 97 %`, "
        "`attack_success <= 0.1`, or `certified_accuracy >= 0.9`: the share of examples that are answered rightly and "
        "for which it is proved that nothing in the set changes the answer."
    )
    strategies: tuple[StrategyName, ...] | None = Field(
        default=None, min_length=1, description="Play only these. All that fit the adversary and the set when absent."
    )
    branches: Annotated[int, Field(gt=0, le=1_000_000)] | None = Field(
        default=None,
        description="For `certified_accuracy`: sub-problems that a proof may bound, per example. 200 when absent.",
    )

    @model_validator(mode="after")
    def _branches_prove_something(self) -> Self:
        if self.branches is not None and self.require.measure != "certified_accuracy":
            raise ValueError("branches belongs to certified_accuracy, which this requirement does not require")
        return self
