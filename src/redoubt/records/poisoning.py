"""What a policy says of the poisoning game: how much of the training data is the adversary's, and what it is to bring
about.
"""

from typing import Annotated, Literal

from pydantic import Field

from redoubt.records.data import DataSourceField
from redoubt.records.harden import Positive
from redoubt.records.requirement import BoundField, Requirement
from redoubt.records.training import TrainingRecipe

PoisoningStrategy = Literal["gradient-matching", "influence-point", "chosen-flips", "random-flips"]
SHARE = 0.01
"""Of the training data, what an adversary has whose budget says nothing."""


class VictimRecipe(TrainingRecipe):
    """How the models are trained that are poisoned: best as the assessed model itself was."""

    models: Annotated[int, Field(ge=1, le=64)] = Field(
        default=2, description="How many are trained on each poisoned data set, from scratch, each with another seed."
    )


class PoisoningRequirement(Requirement):
    """An adversary changes some of the training data, and victims are trained on them from scratch."""

    measures = ("targets_flipped", "accuracy_drop")

    game: Literal["poisoning"] = Field(description="The security game that is played.")
    require: BoundField = Field(
        description="The bound that must hold: `targets_flipped <= 0.2`, the share of chosen test inputs that victims "
        "answer as the adversary wants; or `accuracy_drop <= 0.02`, how much accuracy falls when the adversary wants "
        "them wrong at everything."
    )
    strategies: tuple[PoisoningStrategy, ...] | None = Field(
        default=None, min_length=1, description="Play only these. All that fit when absent."
    )
    train: DataSourceField | None = Field(
        default=None,
        description="What victims are trained on, and of which the adversary has a share. `data.train` when absent.",
    )
    labels: Literal["any", "kept"] = Field(
        default="any",
        description="Whether the adversary may give rows wrong labels; `kept` where somebody checks them.",
    )
    radius: Positive | None = Field(
        default=None,
        description="How far each value of a changed input may be moved, in the units of the input range. Over the "
        "whole range when absent.",
    )
    targets: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=20,
        description="How many test inputs the adversary is to flip, one at a time, each with poison of its own: drawn "
        "from those that the model answers rightly, to become its second choice.",
    )
    victims: VictimRecipe = Field(
        default_factory=VictimRecipe, description="How victims are trained, and the adversary's own models."
    )
    neighbours: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="Check the data before victims are trained: leave out each row whose label is not the one that "
        "most of so many nearest rows have, in the features of a model of the data as they are (deep k-NN). Every "
        "strategy is played by an adversary who knows that, and by one who does not; the worse counts. No check when "
        "absent.",
    )
