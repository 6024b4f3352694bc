"""What a policy says of the membership game: who is to be recognised, and by what means."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from redoubt.records.base import Name, Record
from redoubt.records.data import DataSourceField
from redoubt.records.harden import Positive
from redoubt.records.requirement import BoundField, Requirement

MembershipStrategy = Literal[
    "lira",
    "rmia",
    "lira-offline",
    "rmia-offline",
    "shadow-classifier",
    "loss-threshold",
    "label-augmentation",
    "label-noise",
]
FALSE_ALARMS = {"tpr_at_fpr_0.001": 0.001, "tpr_at_fpr_0.01": 0.01}
"""The measures of members found, and the rate of false alarms that each allows."""


class ShadowRecipe(Record):
    """How the adversary trains models of its own, each on a random half of all records."""

    source: str | None = Field(
        default=None,
        description="What is trained: `torch:<module>:<factory>`, or `sklearn:<Estimator>`, one of scikit-learn's "
        "classifiers. When absent what the model itself is, as far as its file tells: its factory, or its estimator.",
    )
    models: Annotated[int, Field(ge=4, le=1024, multiple_of=2)] = Field(
        default=32,
        description="How many, an even number: each record is in half of them. More tell more; `lira` gives each "
        "record a variance of its own from 64 on.",
    )
    epochs: Annotated[int, Field(gt=0, le=10_000)] = Field(
        default=30, description="Of torch: passes over a half. Best as many as the model itself had."
    )
    batch: Annotated[int, Field(gt=0)] = Field(default=64, description="Of torch: records per training step.")
    optimizer: Literal["adam", "sgd"] = Field(default="adam", description="Of torch. `sgd` has momentum 0.9.")
    learning_rate: Positive = Field(default=1e-3, description="Of torch; falls to zero along a cosine.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(default=0.0, description="Of torch: L2 penalty of the weights.")
    parameters: dict[Name, bool | int | float | str | None] = Field(
        default_factory=dict, description="Of scikit-learn: what the estimator is built with, by name."
    )

    @model_validator(mode="after")
    def _has_effect(self) -> Self:
        learnt = ("epochs", "batch", "optimizer", "learning_rate", "weight_decay")
        if (self.source or "").startswith("sklearn:"):
            idle = [key for key in learnt if key in self.model_fields_set]
            if idle:
                raise ValueError(f"{idle[0]} has no effect on a scikit-learn estimator; write it under parameters")
        elif self.parameters and self.source is not None:
            raise ValueError("parameters belong to a scikit-learn estimator; write source: sklearn:<Estimator>")
        return self


class MembershipRequirement(Requirement):
    """Records are shown, half of which the model was trained on, and the adversary is to say which."""

    measures = (*FALSE_ALARMS, "membership_auc")

    game: Literal["membership"] = Field(description="The security game that is played.")
    require: BoundField = Field(
        description="The bound that must hold: `tpr_at_fpr_0.001 <= 0.01`, the share of members that the strongest "
        "strategy finds while it takes one in a thousand others for a member; `tpr_at_fpr_0.01`, the same at one in a "
        "hundred; or `membership_auc <= 0.6`."
    )
    strategies: tuple[MembershipStrategy, ...] | None = Field(
        default=None, min_length=1, description="Play only these. All that fit the adversary when absent."
    )
    members: DataSourceField | None = Field(
        default=None, description="Records that the model was trained on. `data.train` when absent."
    )
    others: DataSourceField | None = Field(
        default=None,
        description="Records of the same kind that it was not trained on, best as many. `data.test` when absent.",
    )
    shadows: ShadowRecipe = Field(
        default_factory=ShadowRecipe, description="How the adversary trains models of its own."
    )
    show: bool = Field(
        default=False,
        description="Whether the records that are found most easily are shown, and kept in the evidence. Else they are "
        "named by row and digest alone.",
    )
