"""What a policy says of the membership game: who is to be recognised, and by what means."""

from typing import Annotated, Literal

from pydantic import Field

from redoubt.records.data import DataSourceField
from redoubt.records.requirement import BoundField, Requirement
from redoubt.records.training import TrainingRecipe

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


class ShadowRecipe(TrainingRecipe):
    """How the adversary trains models of its own, each on a random half of all records."""

    models: Annotated[int, Field(ge=4, le=1024, multiple_of=2)] = Field(
        default=32,
        description="How many, an even number: each record is in half of them. More tell more; `lira` gives each "
        "record a variance of its own from 64 on.",
    )


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
