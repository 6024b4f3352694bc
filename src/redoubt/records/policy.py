"""The policy as a value: what `policy/` makes of the text, and every other room reads.

Each record validates itself at birth; `policy/` adds the file position to what goes wrong here.
"""

import enum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from redoubt.records.base import Name, Record
from redoubt.records.data import DataSourceField
from redoubt.records.guard import Guard
from redoubt.records.harden import HardenRecipe, Positive
from redoubt.records.membership import MembershipRequirement
from redoubt.records.quantities import Degrees, Part, Pixels
from redoubt.records.requirement import BoundField, Requirement
from redoubt.records.trust import Sha256, Signature


class Access(enum.IntEnum):
    """What an adversary may see of a model; each level includes those below."""

    LABEL = 1
    SCORES = 2
    FEATURES = 3
    GRADIENTS = 4


class Norm(enum.StrEnum):
    """The norm of a perturbation, taken over all coordinates of one input; L0 over the pixels of an image."""

    LINF = "linf"
    L2 = "l2"
    L1 = "l1"
    L0 = "l0"


# ── what is protected ────────────────────────────────────────────────────────────────────────────────────────────


def ordered(pair: tuple[float, float]) -> tuple[float, float]:
    """The pair, if low < high."""
    if not pair[0] < pair[1]:
        raise ValueError(f"expected [low, high] with low < high, got [{pair[0]:g}, {pair[1]:g}]")
    return pair


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

    def after(self, passes: int, queries: int) -> "Budget | None":
        """What is left after so much is spent; None if nothing is.

        >>> Budget(passes=100).after(passes=60, queries=10)
        Budget(passes=40, queries=None, accounts=None)
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


# ── within what ──────────────────────────────────────────────────────────────────────────────────────────────────


class WithinNorm(Record):
    """A norm ball around the input, cut by the input range."""

    norm: Norm = Field(
        description="How the size of a move is taken: `linf` the greatest change of any coordinate, `l2` the Euclidean "
        "length, `l1` the sum of all changes, `l0` how many pixels of an image change, or values of "
        "another input."
    )
    radius: Positive = Field(
        description="The largest size of a move, in the units of the model's input range; for `l0` a whole number."
    )


class WithinTurn(Record):
    """Rotation about the centre, then translation along both axes; either may be left out."""

    rotation: Annotated[Degrees, Field(ge=0, le=180)] = Field(
        default=0.0, description="Up to this angle either way: `30 deg`."
    )
    translation: Annotated[Pixels, Field(ge=0)] = Field(
        default=0.0, description="Up to this far along each axis: `3 px`."
    )
    then: WithinNorm | None = Field(
        default=None, description="A norm ball around the turned and shifted image: both at once."
    )

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if self.rotation == 0 and self.translation == 0:
            raise ValueError("rotation and translation are both zero: nothing moves")
        return self


def _columns(value: object) -> object:
    if isinstance(value, list):
        return tuple(value)
    return (value, value) if isinstance(value, int) else value


class Movable(Record):
    """What the adversary may do to one feature of a table; to each of several alike, if `at` names several numbers."""

    at: Annotated[
        tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]],
        BeforeValidator(_columns, json_schema_input_type=int | tuple[int, int]),
    ] = Field(description="The column of the model's input, counted from 0, or `[first, last]` of several.")
    kind: Literal["number", "category"] = Field(
        default="number",
        description="`number`: each column is a number of its own. `category`: the columns are one feature, of which "
        "exactly one is 1 and the others are 0 (one-hot).",
    )
    cost: Positive = Field(
        default=1.0,
        description="What one `step` of a number costs (one unit of it, if it has no step), or a change to another "
        "category.",
    )
    step: Positive | None = Field(
        default=None,
        description="A number moves by whole multiples of it, in its own units: `1` for whole numbers. Any move when "
        "absent.",
    )
    scale: Annotated[tuple[float, float], AfterValidator(ordered)] | None = Field(
        default=None,
        description="`[low, high]`: the number's values, in its own units, at the two ends of the model's input range. "
        "The input range itself when absent.",
    )
    low: float | None = Field(default=None, description="The least value it may be moved to, in its own units.")
    high: float | None = Field(default=None, description="The greatest value it may be moved to, in its own units.")
    only: Literal["up", "down"] | None = Field(
        default=None, description="The one direction in which a number may be moved. Both when absent."
    )
    values: tuple[str, ...] | None = Field(
        default=None, description="Names of a category's values, in the order of its columns, for the report."
    )

    @property
    def columns(self) -> range:
        """The columns."""
        return range(self.at[0], self.at[1] + 1)

    @model_validator(mode="after")
    def _is_of_its_kind(self) -> Self:
        if self.at[0] > self.at[1]:
            raise ValueError(f"at is [{self.at[0]}, {self.at[1]}]; expected [first, last]")
        if self.kind == "number":
            if self.values is not None:
                raise ValueError("values are names of categories; write kind: category")
            if self.low is not None and self.high is not None and self.low >= self.high:
                raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
            return self
        given = [key for key in ("step", "scale", "low", "high", "only") if getattr(self, key) is not None]
        if given:
            raise ValueError(f"a category has no {given[0]}")
        if len(self.columns) < 2:
            raise ValueError("a category has one column for each value: at: [first, last]")
        if self.values is not None and len(self.values) != len(self.columns):
            raise ValueError(f"values names {len(self.values)} values, but at has {len(self.columns)} columns")
        return self


class WithinTable(Record):
    """Changes of a table's features, at a price. What is not named does not change."""

    features: Annotated[dict[Name, Movable], Field(min_length=1)] = Field(
        description="What may be changed, by name. Every other column stays as it is."
    )
    budget: Positive = Field(description="What all changes of one input may cost together.")


CorruptionKind = Literal[
    "haze",
    "brightness",
    "contrast",
    "saturation",
    "defocus",
    "motion-blur",
    "blur",
    "shot-noise",
    "noise",
    "impulse-noise",
    "pixelate",
    "jpeg",
]
UNEVEN_CORRUPTIONS: frozenset[CorruptionKind] = frozenset({"impulse-noise", "pixelate", "jpeg"})
"""Those that change in jumps as their severity grows, so that it has no slope."""


def _least_first(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"expected [least, greatest], got [{pair[0]:g}, {pair[1]:g}]")
    return pair


class WithinCorruptions(Record):
    """Corruptions of an image at graded severities, in the worst combination."""

    corruptions: Annotated[tuple[CorruptionKind, ...], Field(min_length=1)] = Field(
        description="The kinds that may befall an image."
    )
    severity: Annotated[float, Field(gt=0, le=5)] = Field(
        description="Up to this severity each, from 1, slight, to 5, as ImageNet-C grades them."
    )
    at_once: Annotated[int, Field(ge=1)] = Field(default=2, description="How many kinds may befall one image.")

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        for kind in self.corruptions:
            if self.corruptions.count(kind) > 1:
                raise ValueError(f"{kind} is named twice")
        return self


class WithinPatch(Record):
    """A patch of any pixels over a part of the image, whose place, size, turn and light are left to chance."""

    patch: Annotated[Part, Field(gt=0, le=0.5)] = Field(description="Its area as a share of the image's: `10 %`.")
    scale: Annotated[tuple[Positive, Positive], AfterValidator(_least_first)] = Field(
        default=(1.0, 1.0), description="Least and greatest factor on its side."
    )
    rotation: Annotated[Degrees, Field(ge=0, le=180)] = Field(
        default=0.0, description="Turned by up to this angle either way: `20 deg`."
    )
    light: Annotated[Part, Field(ge=0, le=1)] = Field(
        default=0.0, description="Brighter or darker by up to this share of the input range."
    )
    draws: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=20, description="Fresh placements, unknown to the adversary, that each patch is judged on."
    )
    share: Annotated[Part, Field(gt=0, le=1)] = Field(
        default=0.5, description="Share of these placements, answered wrongly, that makes an input count as fooled."
    )


def _kind_of_set(value: object) -> str:
    """Which of the shapes below a mapping means, told by its keys, so that messages speak of that shape only."""
    keys = (
        set(value) if isinstance(value, dict) else set(type(value).model_fields) if isinstance(value, Record) else set()
    )
    if "any_of" in keys:
        return "any_of"
    if keys & {"features", "budget"}:
        return "table"
    if "corruptions" in keys:
        return "corruptions"
    if "patch" in keys:
        return "patch"
    return "turn" if keys & {"rotation", "translation"} and not keys & {"norm", "radius"} else "norm"


WithinSimple = Annotated[
    Annotated[WithinNorm, Tag("norm")]
    | Annotated[WithinTurn, Tag("turn")]
    | Annotated[WithinCorruptions, Tag("corruptions")]
    | Annotated[WithinPatch, Tag("patch")],
    Discriminator(_kind_of_set),
]


class WithinAnyOf(Record):
    """A union: the adversary may choose any one of these sets for each input."""

    any_of: Annotated[tuple[WithinSimple, ...], Field(min_length=2, max_length=8)] = Field(
        description="Two to eight sets of any other kind."
    )


Within = Annotated[
    Annotated[WithinNorm, Tag("norm")]
    | Annotated[WithinTurn, Tag("turn")]
    | Annotated[WithinTable, Tag("table")]
    | Annotated[WithinCorruptions, Tag("corruptions")]
    | Annotated[WithinPatch, Tag("patch")]
    | Annotated[WithinAnyOf, Tag("any_of")],
    Discriminator(_kind_of_set),
]


# ── what must hold ───────────────────────────────────────────────────────────────────────────────────────────────

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


GAMES: dict[str, type[Requirement]] = {"evasion": EvasionRequirement, "membership": MembershipRequirement}
"""The games that are played, by name, and what a requirement of each says."""


def _game_of(value: object) -> str:
    """Which game a mapping names; evasion where it names none that is played, so that messages speak of one game."""
    game = value.get("game") if isinstance(value, dict) else getattr(value, "game", None)
    return game if isinstance(game, str) and game in GAMES else "evasion"


AnyRequirement = Annotated[
    Annotated[EvasionRequirement, Tag("evasion")] | Annotated[MembershipRequirement, Tag("membership")],
    Discriminator(_game_of),
]


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
