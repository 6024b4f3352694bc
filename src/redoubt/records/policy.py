"""The policy as a value: what `policy/` makes of the text, and every other room reads.

Each record validates itself at birth; `policy/` adds the file position to what goes wrong here.
"""

import enum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from redoubt.records.base import Name, Record
from redoubt.records.data import DataSourceField
from redoubt.records.games import AnyRequirement
from redoubt.records.guard import Guard
from redoubt.records.harden import HardenRecipe
from redoubt.records.quantities import Part, ordered
from redoubt.records.trust import Sha256, Signature
from redoubt.records.update import Update


class Access(enum.IntEnum):
    """What an adversary may see of a model; each level includes those below."""

    LABEL = 1
    SCORES = 2
    FEATURES = 3
    GRADIENTS = 4


# ── what is protected ────────────────────────────────────────────────────────────────────────────────────────────


class InputFace(Record):
    """What one input of the model looks like, before any normalisation."""

    shape: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1, max_length=4)] = Field(
        description="Shape of one input, without the batch: `[channels, height, width]` for images, "
        "`[features]` for tables."
    )
    range: Annotated[tuple[float, float], AfterValidator(ordered)] = Field(
        description="`[low, high]`: the values every coordinate may take. Perturbed inputs stay inside."
    )
    mean: tuple[float, ...] | None = Field(
        default=None, description="Subtracted before the model sees the input: one number, or one per channel."
    )
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        default=None, description="Divides the input after `mean` is subtracted: one number, or one per channel."
    )

    @model_validator(mode="after")
    def _normalisation_fits(self) -> Self:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) not in (1, self.shape[0]):
                raise ValueError(f"{name} has {len(values)} numbers; expected 1, or {self.shape[0]} (one per channel)")
        return self


class ModelSource(Record):
    """Where the model comes from and what its face is."""

    source: str = Field(
        description="`torch:<module>:<factory>`, `onnx:<file>`, `sklearn:<file.skops>`, `python:<module>:<callable>` "
        "or `http(s)://host/v2/models/<name>` (Open Inference Protocol V2)."
    )
    weights: str | None = Field(default=None, description="A `.safetensors` file with the weights of a torch model.")
    digest: Sha256 | None = Field(
        default=None,
        description="`sha256:<hex>` that the model's file must have: that of `weights`, or of the file in `source`.",
    )
    signature: Signature | None = Field(
        default=None, description="A signature that must hold before anything of the model is read."
    )
    input: InputFace = Field(description="What one input looks like.")
    classes: Annotated[int, Field(ge=2)] = Field(description="Number of classes.")
    outputs: Literal["logits", "probabilities"] = Field(
        default="logits", description="What the model returns. A model that ends in softmax returns `probabilities`."
    )
    labels: tuple[str, ...] | None = Field(default=None, description="Class names, in order, for the report.")

    @model_validator(mode="after")
    def _labels_fit(self) -> Self:
        if self.labels is not None and len(self.labels) != self.classes:
            raise ValueError(f"labels names {len(self.labels)} classes, but classes is {self.classes}")
        return self


class DataSources(Record):
    """The data a requirement is judged on, and the data a model is hardened with."""

    test: DataSourceField = Field(description="What the requirements are judged on.")
    train: DataSourceField | None = Field(
        default=None,
        description="What the model was trained on, and what `redoubt harden` trains on. `assess` looks there for "
        "inputs of another class in norm balls, and `game: membership` takes its members from there.",
    )


# ── against whom ─────────────────────────────────────────────────────────────────────────────────────────────────


class Budget(Record):
    """What the adversary can afford, per input.  A limit left out is none beyond each strategy's own."""

    passes: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="Forward passes, backward passes and queries together, per input."
    )
    queries: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="Queries to the model's public face, per input."
    )
    accounts: Annotated[int, Field(gt=0, le=10_000)] | None = Field(
        default=None, description="Accounts to ask a guarded system with, per input; one when absent."
    )
    share: Annotated[Part, Field(gt=0, le=0.5)] | None = Field(
        default=None,
        description="Share of the training data that it may change, in `game: poisoning`: `1 %`, also when absent.",
    )

    def after(self, passes: int, queries: int) -> "Budget | None":
        """What is left after so much is spent; None if nothing is.

        >>> Budget(passes=100).after(passes=60, queries=10)
        Budget(passes=40, queries=None, accounts=None, share=None)
        """
        left = (
            None if self.passes is None else self.passes - passes,
            None if self.queries is None else self.queries - queries,
        )
        if any(n is not None and n <= 0 for n in left):
            return None
        return self.model_copy(update={"passes": left[0], "queries": left[1]})


class Adversary(Record):
    """What an adversary knows, sees and can afford."""

    knows: Literal["weights", "nothing"] = Field(
        default="nothing", description="`weights`: the adversary has the model and can differentiate it."
    )
    observes: Literal["label", "scores"] = Field(
        default="scores", description="What an answer of the model shows to an adversary who does not have the weights."
    )
    budget: Budget = Field(default=Budget(), description="What the adversary can afford on each input.")

    @property
    def access(self) -> Access:
        """The highest level of access that these words grant."""
        if self.knows == "weights":
            return Access.GRADIENTS
        return Access.LABEL if self.observes == "label" else Access.SCORES


# ── what must hold ───────────────────────────────────────────────────────────────────────────────────────────────


class Policy(Record):
    """What a system must withstand, and how that is judged."""

    redoubt: Literal[1] = Field(description="Version of the policy language.")
    system: Name = Field(description="A name for the system under assessment.")
    seed: Annotated[int, Field(ge=0, lt=2**53)] = Field(
        default=0, description="The one seed everything random derives from."
    )
    model: ModelSource = Field(description="The model under assessment.")
    data: DataSources = Field(description="Labelled examples to judge the model on, and to harden it with.")
    adversaries: Annotated[dict[Name, Adversary], Field(min_length=1)] = Field(
        description="Whom the model must withstand, by name."
    )
    requirements: Annotated[tuple[AnyRequirement, ...], Field(min_length=1)] = Field(description="What must hold.")
    harden: HardenRecipe | None = Field(default=None, description="How `redoubt harden` makes a stronger model.")
    guard: Guard | None = Field(default=None, description="What `redoubt guard` enforces at run time.")
    update: Update | None = Field(
        default=None, description="When `redoubt update` puts a candidate in force, refuses it, or asks a person."
    )
