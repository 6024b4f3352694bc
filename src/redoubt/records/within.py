"""The sets in which an adversary may move an input, as the policy writes them."""

import enum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from redoubt.records.base import Name, Record
from redoubt.records.harden import Positive
from redoubt.records.quantities import Degrees, Part, Pixels, ordered


class Norm(enum.StrEnum):
    """The norm of a perturbation, taken over all coordinates of one input; L0 over the pixels of an image."""

    LINF = "linf"
    L2 = "l2"
    L1 = "l1"
    L0 = "l0"


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
