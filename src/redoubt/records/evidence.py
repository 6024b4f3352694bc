"""What verdicts rest on, whole enough for somebody else to judge it: what every game has, and what evasion adds."""

import bisect
import enum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from redoubt.records.base import Record
from redoubt.records.campaign import WorkFactor
from redoubt.records.requirement import Bound, BoundField
from redoubt.records.work import Count, Work

Share = Annotated[float, Field(ge=0, le=1)]


class Verdict(enum.StrEnum):
    """How a requirement came out, and how that is known.

    VIOLATED: counterexamples are in hand, and enough of them.
    WITHSTOOD: the named strategies failed within the named budget.  Never to be read as "secure".
    PROVED: certificates cover every strategy, on enough of the examples.
    UNDECIDED: it could not be assessed: too few samples, an attack that broke, signs of masked gradients.
    """

    VIOLATED = "violated"
    PROVED = "proved"
    WITHSTOOD = "withstood"
    UNDECIDED = "undecided"


class Interval(Record):
    """A two-sided confidence interval for a proportion, by Clopper and Pearson (1934): exact, so never too narrow."""

    low: Share
    high: Share
    level: Share = 0.95

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} lies above high {self.high}")
        return self


class Measured(Record):
    """A proportion as counted: `successes` of `trials`."""

    measure: str
    successes: Count
    trials: Annotated[int, Field(gt=0)]
    interval: Interval

    @model_validator(mode="after")
    def _is_a_share(self) -> Self:
        if self.successes > self.trials:
            raise ValueError(f"{self.successes} of {self.trials} is no share")
        return self

    @property
    def value(self) -> float:
        """The share, 0..1."""
        return self.successes / self.trials

    @property
    def ends(self) -> tuple[float, float]:
        """The interval's ends."""
        return self.interval.low, self.interval.high


class Estimated(Record):
    """A figure that is no count out of some, with a two-sided interval that `method` gives.

    Attributes:
        low, high: the interval's ends.
        level: its confidence.
    """

    measure: str
    value: float
    low: float
    high: float
    level: Share = 0.95
    method: str

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"{self.value} does not lie between {self.low} and {self.high}")
        return self

    @property
    def ends(self) -> tuple[float, float]:
        """The interval's ends."""
        return self.low, self.high


Figure = Measured | Estimated
"""What a requirement can be judged by."""


class SignName(enum.StrEnum):
    """Signs that a failed attack says little about the model (Carlini et al. 2019; Pintor et al. 2022)."""

    VANISHING_GRADIENTS = "vanishing-gradients"
    NAN_GRADIENTS = "nan-gradients"
    BLACK_BOX_BEATS_WHITE_BOX = "black-box-beats-white-box"
    RADIUS_DOES_NOT_HURT = "radius-does-not-hurt"
    LOSS_DOES_NOT_GROW = "loss-does-not-grow"
    UNSTABLE_OUTPUTS = "unstable-outputs"
    BROKEN_STRATEGY = "broken-strategy"
    GRADIENT_MISLEADS = "gradient-misleads"
    PROBE_BEATS_GAME = "probe-beats-game"
    NOT_PLAYED = "not-played"
    GRADIENTS_OUT_OF_REACH = "gradients-out-of-reach"
    NOT_CONVERGED = "not-converged"
    DETECTOR_NOT_ATTACKED = "detector-not-attacked"
    PART_NOT_MENDED = "part-not-mended"
    SPLIT_DIFFERS = "split-differs"
    SHADOWS_DIFFER = "shadows-differ"
    VICTIMS_DIFFER = "victims-differ"
    SAMPLES_REPEAT = "samples-repeat"


class Sign(Record):
    """One sign that was raised: it turns `withstood` into `undecided`."""

    name: SignName
    explanation: str = Field(description="One plain sentence with the figures that raised it.")


class BrokenPart(Record):
    """A part of the model that a search found to break gradients, to draw at random, or to refuse."""

    part: str = Field(description="Its name in the model, or the tensors that it lies between.")
    flaw: str


class Tried(Record):
    """One candidate of a search, and how far it came."""

    what: str = Field(description="Ways around broken parts, samples per gradient, and objective.")
    attacked: Count
    fooled: Count
    shortfall: float = Field(description="Mean distance from fooling, in usual margins of the model; 0 is fooled.")


class Found(Record):
    """What an adaptive search found out about a model, and composed."""

    strategy: str
    parts: tuple[BrokenPart, ...]
    scored: tuple[Tried, ...] = Field(description="Candidates, on a few examples.")
    played: tuple[Tried, ...] = Field(description="The best of them, on all examples still standing.")
    mended: bool = Field(description="Steps along the gradients it composed bring the model's own answer nearer.")
    samples: Count = Field(default=1, description="Gradients averaged in a step, by their variance.")


class StrategyOutcome(Record):
    """What one strategy did in one requirement, over the examples still standing when its turn came."""

    strategy: str
    parameters: dict[str, bool | int | float | str | None]
    within: str = Field(description="The set it moved in; for a union, the member it was played against.")
    attacked: Count
    fooled: Count
    work: Work
    passes_to_fool: float | None = Field(description="Median passes billed to an example that it fooled.")
    mean_passes_to_fool: float | None = Field(
        default=None, description="Their mean, which the few dearest examples raise."
    )
    broke: str | None = Field(default=None, description="Why the strategy could not be played to its end.")


class CurvePoint(Record):
    """Robust accuracy in a set scaled to another radius, by one quick strategy on a part of the data."""

    scale: Annotated[float, Field(gt=0)] = Field(description="Radius as a multiple of the requirement's.")
    within: str
    robust: Measured


class FeatureMove(Record):
    """One feature of a table's row, before and after, in its own units or by the names of its values."""

    feature: str
    before: str
    after: str
    cost: Annotated[float, Field(ge=0)]


class Distances(Record):
    """How far examples must be moved to be answered wrongly: robust accuracy at every radius, from one run.

    Upper bounds, as no strategy finds the nearest wrong answer for certain.  They come from a minimum-norm strategy, on
    a part of the data, and from whatever nearer points the game and the probes found there.
    """

    strategies: tuple[str, ...] = Field(description="The minimum-norm strategies that were run to their end.")
    trials: Annotated[int, Field(gt=0)] = Field(description="Examples looked at, right or wrong.")
    multiples: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        description="Least distance known to fool each example, as a multiple of the requirement's radius, in growing "
        "order: 0 where the unperturbed input is answered wrongly; absent where nothing fooled it at any distance."
    )

    @model_validator(mode="after")
    def _are_in_order(self) -> Self:
        if len(self.multiples) > self.trials or list(self.multiples) != sorted(self.multiples):
            raise ValueError("multiples stand in growing order, at most one for each trial")
        return self

    def standing(self, scale: float) -> int:
        """How many examples stand at that multiple of the radius."""
        return self.trials - bisect.bisect_right(self.multiples, scale * (1 + 1e-5))


class ExampleResult(Record):
    """One example: what the model said of it, and what it was made to say."""

    row: Count = Field(description="Row in the data as taken.")
    label: Count
    clean: int = Field(description="The model's answer to the unperturbed input; -1 where it refused.")
    perturbed: int | None = Field(default=None, description="The wrong answer it was brought to, if any strategy did.")
    strategy: str | None = None
    within: str | None = None
    distance: float | None = Field(
        default=None, description="Size of the move: its norm for balls, else a share of the radius."
    )
    work: Work = Work()
    moves: tuple[FeatureMove, ...] = Field(
        default=(), description="Of a table's row: the features that were changed, the dearest first."
    )
    tensor: str | None = Field(default=None, description="Key of the perturbed input in `examples.safetensors`.")
    certified: bool = Field(default=False, description="It is proved that nothing in the set changes the answer.")

    @property
    def robust(self) -> bool:
        """Correct, and nothing brought it to a wrong answer."""
        return self.clean == self.label and self.perturbed is None


class Proofs(Record):
    """What branch and bound showed of the examples that no strategy brought to a wrong answer.

    Proved of the network with its weights as they are stored, in real arithmetic and as float32 computes it, in
    whatever order it adds.
    """

    branches: Annotated[int, Field(gt=0)] = Field(description="Sub-problems that it might bound, per example.")
    proved: Count = Field(description="Examples that nothing in the set brings to a wrong answer.")
    fooled: Count = Field(description="Examples for which it found a wrong answer that no strategy had found.")
    unknown: Count = Field(description="Examples that it could not decide within its branches.")
    parts: Count = Field(description="Sub-problems that it bounded, over all examples.")
    obstacle: str | None = Field(default=None, description="Why nothing could be proved of this model, or set.")


class OtherClass(Record):
    """A test example, and a training input of another class inside the set around it."""

    row: Count = Field(description="Row of the example in the data as taken.")
    label: Count = Field(description="The example's label; the model gives it to the training input too.")
    other: Count = Field(description="The training input's label.")
    tensor: str = Field(description="Key of both in `examples.safetensors`.")


class InvarianceCheck(Record):
    """Whether the set is larger than the data allow: it holds training inputs whose label is another.

    Around such an example no model is right everywhere, so robustness there is nothing to wish for.  It is no part of
    the verdict.
    """

    within: str = Field(description="The ball that was looked into.")
    training: str = Field(description="The training data's source, as the policy names it.")
    digest: str = Field(description="Of the training data, `sha256:<hex>`.")
    examined: Count = Field(description="Test examples.")
    reachable: Count = Field(description="Of them, those with a training input of another class in the ball.")
    kept: Count = Field(description="Of these, those where the model gives that training input the example's label.")
    shown: tuple[OtherClass, ...] = Field(description="Some of `kept`.")

    @model_validator(mode="after")
    def _counts_nest(self) -> Self:
        if not self.kept <= self.reachable <= self.examined:
            raise ValueError(f"{self.kept} of {self.reachable} of {self.examined} do not nest")
        return self


class RequirementEvidence(Record):
    """One requirement of any game: verdict, reason, and what every game has.  Each game adds what it rests on."""

    id: str
    game: str
    adversary: str
    require: BoundField
    verdict: Verdict
    reason: str = Field(description="Plain sentences: why this verdict.")
    measures: tuple[Figure, ...]
    signs: tuple[Sign, ...]
    work: Work

    @property
    def bound(self) -> Bound:
        """The requirement's bound."""
        return self.require

    @property
    def shown(self) -> tuple[str, ...]:
        """Keys of inputs that a report shows as they are: `K/clean` in `examples.safetensors`."""
        return ()


class EvasionEvidence(RequirementEvidence):
    """What an evasion requirement rests on."""

    game: Literal["evasion"] = "evasion"
    within: str
    measures: tuple[Measured, ...]
    outcomes: tuple[StrategyOutcome, ...]
    found: tuple[Found, ...] = Field(default=(), description="What adaptive strategies found, batch by batch.")
    curve: tuple[CurvePoint, ...]
    unbounded: Measured | None = Field(
        default=None,
        description="Robust accuracy when the set holds every input there is: a working attack brings it near zero.",
    )
    distances: Distances | None = Field(
        default=None, description="Robust accuracy at every radius, for norm balls under gradients."
    )
    examples: tuple[ExampleResult, ...]
    proofs: Proofs | None = Field(default=None, description="If the requirement asks for certified accuracy.")
    invariance: tuple[InvarianceCheck, ...] = Field(
        default=(), description="For each norm ball of the set, if the policy names training data."
    )
    guarded: WorkFactor | None = Field(
        default=None, description="The attacker's work through the guard, if it was played through one."
    )
