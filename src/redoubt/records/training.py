"""How models of the assessed model's kind are trained in its place: by an adversary of its own, or to be poisoned."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from redoubt.records.base import Name, Record
from redoubt.records.harden import Positive


class TrainingRecipe(Record):
    """What is trained, and how."""

    source: str | None = Field(
        default=None,
        description="What is trained: `torch:<module>:<factory>`, or `sklearn:<Estimator>`, one of scikit-learn's "
        "classifiers. When absent what the model itself is, as far as its file tells: its factory, or its estimator.",
    )
    epochs: Annotated[int, Field(gt=0, le=10_000)] = Field(
        default=30, description="Of torch: passes over the records. Best as many as the model itself had."
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
