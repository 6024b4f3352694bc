"""How a stronger model is trained, as data: which inner maximiser, which loss, which schedules, which averaging."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from redoubt.records.base import Name, Record
from redoubt.records.quantities import Degrees, Pixels
from redoubt.records.trust import Sha256, Signature

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]

Attack = Literal["pgd", "worst-of-k", "free", "ensemble", "none"]
Loss = Literal["cross-entropy", "trades", "mart", "interval-bounds"]
Joined = Literal["random", "worst", "average", "steepest"]
Fall = Literal["cosine", "triangle", "steps", "constant"]


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


class StaticModel(Record):
    """A model that stays as it is, whose worst points the trained model has to withstand too."""

    source: str = Field(description="`torch:<module>:<factory>`, of the same face as the policy's model.")
    weights: str | None = Field(default=None, description="A `.safetensors` file with its weights.")
    digest: Sha256 | None = Field(default=None, description="As `model.digest`.")
    signature: Signature | None = Field(default=None, description="As `model.signature`.")


class Augmentation(Record):
    """Random turns and shifts of the training images, drawn anew in every epoch; either may be left out."""

    rotation: Annotated[Degrees, Field(ge=0, le=180)] = Field(
        default=0.0, description="Up to this angle either way: `10 deg`."
    )
    translation: Annotated[Pixels, Field(ge=0)] = Field(
        default=0.0, description="Up to this far along each axis: `2 px`."
    )

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if self.rotation == 0 and self.translation == 0:
            raise ValueError("rotation and translation are both zero: nothing is augmented")
        return self


class Recipe(Record):
    """How a model is trained to withstand a set.

    The inner maximiser (`attack`, `steps`, …) looks for the worst point of the set, the `loss` says what is learnt from
    it, the schedules how far and how fast, `average` and `weight_perturbation` what becomes of the weights, `keep` and
    `patience` when to stop.  A key that would have no effect beside the others is refused.
    """

    attack: Attack = Field(
        default="pgd",
        description="The inner maximiser. `pgd`: steepest ascent from a random start (Madry et al. 2018; with "
        "`steps: 1` the fast training of Wong et al. 2020). `worst-of-k`: the worst of `tries` random points (Engstrom "
        "et al. 2019). `free`: each batch is replayed, and the gradient that moves the weights moves the inputs as "
        "well (Shafahi et al. 2019). `ensemble`: `pgd` on the model itself or on one of `static` models, drawn for "
        "each batch (Tramer et al. 2018). `none`: plain training.",
    )
    epochs: Annotated[int, Field(gt=0)] = Field(default=20, description="Passes over the training data.")
    steps: Annotated[int, Field(gt=0)] = Field(default=7, description="Attack steps per training batch.")
    step: Positive | None = Field(
        default=None,
        description="Length of an attack step as a share of the radius; 2.5 / `steps` when absent (1 for `free`).",
    )
    falling: bool = Field(
        default=False,
        description="Steps that fall in a straight line from two radii to nearly nothing, in the stead of equal ones: "
        "they cross the set first and settle then, which in L2 balls finds far worse points with as many steps.",
    )
    tries: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=10, description="Of `worst-of-k`: how many random points are tried."
    )
    replays: Annotated[int, Field(ge=2, le=100)] = Field(
        default=4, description="Of `free`: how often each batch is replayed within an epoch."
    )
    static: Annotated[tuple[StaticModel, ...], Field(max_length=16)] = Field(
        default=(), description="Of `ensemble`: the models that stay as they are."
    )
    unions: Joined = Field(
        default="random",
        description="Where the set is a union. `random`: a member drawn for each example (Madaan et al. 2021). "
        "`worst`: the member of greatest loss, `average`: all of them (Tramer and Boneh 2019). `steepest`: at each "
        "step the member whose step raises the loss most; norm balls only (Maini et al. 2020).",
    )
    loss: Loss = Field(
        default="cross-entropy",
        description="What is learnt from the worst points: `cross-entropy`, `trades` (Zhang et al. 2019) or `mart` "
        "(Wang et al. 2020). `interval-bounds` needs no points, hence `attack: none`: it lowers a bound that covers "
        "the whole Linf ball (Gowal et al. 2018; warmed up as in Shi et al. 2021), for models that can be proved.",
    )
    beta: Positive = Field(
        default=6.0, description="Of `trades` and `mart`: weight of the answers' drift under attack (lambda of MART)."
    )
    clean_share: Share = Field(
        default=0.0,
        description="Of `cross-entropy` and `interval-bounds`: weight of the loss on unperturbed inputs, beside the "
        "other.",
    )
    augment: Augmentation | None = Field(
        default=None,
        description="Turn and shift the training images at random before the worst points are looked for: more "
        "examples against robust overfitting. `{rotation: 10 deg, translation: 2 px}`.",
    )
    batch: Annotated[int, Field(gt=0)] = Field(default=128, description="Examples per training step.")
    optimizer: Literal["adam", "sgd"] = Field(default="adam", description="`sgd` has momentum 0.9.")
    learning_rate: Positive = Field(default=1e-3, description="The highest learning rate of the schedule.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(default=0.0, description="L2 penalty of the weights.")
    schedule: Fall = Field(
        default="cosine",
        description="Of the learning rate. `cosine`: falls to zero along a cosine. `triangle`: rises over the first "
        "30 % and falls to zero, in straight lines (Smith 2017). `steps`: a tenth from half-way on, a hundredth in the "
        "last quarter. `constant`.",
    )
    warmup: Annotated[int, Field(ge=0)] = Field(
        default=5, description="Epochs over which the set grows from a point to its full size."
    )
    radius: Annotated[float, Field(gt=0, le=4)] = Field(
        default=1.0, description="Full size of the set in training, as a multiple of the requirement's radius."
    )
    average: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Decay per step of an exponential moving average of the weights, which is watched and kept in "
        "their stead: `0.999`.",
    )
    weight_perturbation: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Adversarial weight perturbation (Wu et al. 2020): each layer is moved up the loss by this share "
        "of its norm before the gradient is taken, and moved back: `0.005`.",
    )
    keep: Literal["last", "best"] = Field(
        default="last",
        description="Which epoch's weights to keep. `best`: of the highest accuracy under attack on examples held out "
        "(early stopping; Rice et al. 2020).",
    )
    patience: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="Of `keep: best`: stop after so many epochs in the full set without a better one."
    )
    watch_overfitting: bool = Field(
        default=False,
        description="Watch for catastrophic overfitting (Wong et al. 2020): where the model withstands its own short "
        "attack but no longer a longer one, the epoch is undone and repeated with twice the steps.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="`bfloat16`: mixed precision by autocast; helps on hardware that has it."
    )
    compile: bool = Field(default=False, description="Whether the model is compiled by `torch.compile`.")

    def _idle(self) -> dict[str, str]:
        """The keys that have no effect beside the others, and what each needs."""
        bounds = self.loss == "interval-bounds"
        needs = {
            "steps": (self.attack in ("pgd", "ensemble"), "attack: pgd or ensemble"),
            "step": (
                self.attack == "free" or (self.attack in ("pgd", "ensemble") and not self.falling),
                "attack: pgd, ensemble or free, without falling",
            ),
            "falling": (self.attack in ("pgd", "ensemble"), "attack: pgd or ensemble"),
            "tries": (self.attack == "worst-of-k", "attack: worst-of-k"),
            "replays": (self.attack == "free", "attack: free"),
            "static": (self.attack == "ensemble", "attack: ensemble"),
            "beta": (self.loss in ("trades", "mart"), "loss: trades or mart"),
            "clean_share": (
                bounds or (self.loss == "cross-entropy" and self.attack != "none"),
                "loss: cross-entropy or interval-bounds",
            ),
            "warmup": (bounds or self.attack != "none", "an attack"),
            "radius": (bounds or self.attack != "none", "an attack"),
            "unions": (self.attack != "none", "an attack"),
            "patience": (self.keep == "best", "keep: best"),
            "watch_overfitting": (self.attack == "pgd" or not self.watch_overfitting, "attack: pgd"),
        }
        return {key: needed for key, (works, needed) in needs.items() if not works}

    def effective(self) -> dict[str, object]:
        """All keys that have an effect, with their values, also those that were left out."""
        idle = self._idle()
        values = {key: getattr(self, key) for key in Recipe.model_fields if key not in idle}
        return {key: value for key, value in values.items() if value is not None}

    @model_validator(mode="after")
    def _has_effect(self) -> Self:
        """Every key that is written does something."""
        for key, needed in self._idle().items():
            if key in self.model_fields_set:
                raise ValueError(f"{key} has no effect here: it needs {needed}; write {needed}, or remove {key}")
        if self.attack == "ensemble" and not self.static:
            raise ValueError(
                "attack is ensemble, but no static model is named; write static: [{source: …, weights: …}]"
            )
        if self.loss == "interval-bounds" and self.attack != "none":
            raise ValueError("loss is interval-bounds, which needs no worst points; write attack: none")
        if self.attack == "none" and self.loss not in ("cross-entropy", "interval-bounds"):
            raise ValueError("loss learns from worst points, but attack is none; write attack: pgd, or remove loss")
        if self.attack == "free":
            for key, plain in (
                ("loss", self.loss == "cross-entropy"),
                ("clean_share", not self.clean_share),
                ("weight_perturbation", self.weight_perturbation is None),
                ("unions", self.unions == "random"),
            ):
                if not plain:
                    raise ValueError(
                        f"{key} does not go with attack: free, which takes one gradient for weights and inputs; "
                        f"write attack: pgd, or remove {key}"
                    )
        if self.unions == "steepest" and self.attack != "pgd":
            raise ValueError("unions is steepest, which needs steps; write attack: pgd")
        return self

    @model_serializer(mode="wrap")
    def _what_has_effect(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Without the keys that have no effect, so that what is written can be read again."""
        idle = self._idle()
        return {key: value for key, value in write(self).items() if key not in idle}

    @property
    def step_length(self) -> float:
        """Length of an attack step, as a share of the radius."""
        return self.step or (1.0 if self.attack == "free" else 2.5 / self.steps)

    def step_lengths(self, steps: int) -> tuple[float, ...]:
        """Length of each of so many attack steps, as shares of the radius; `steps` may have been raised."""
        if self.falling:
            return tuple(2.0 * (steps - at) / steps for at in range(steps))
        return (self.step_length if steps == self.steps else 2.5 / steps,) * steps


class HardenRecipe(Recipe):
    """How `redoubt harden` trains a stronger model: a recipe, and the requirements to withstand."""

    against: Annotated[
        tuple[Name, ...],
        Field(min_length=1, max_length=8),
        BeforeValidator(_one_or_many, json_schema_input_type=Name | tuple[Name, ...]),
    ] = Field(description="The id of the requirement whose set the model is trained against, or a list: their union.")
