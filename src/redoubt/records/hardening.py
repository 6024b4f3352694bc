"""What a hardening leaves behind: how it was trained, what it cost, what it gained."""

from typing import Annotated

from pydantic import Field

from redoubt.records.base import Record
from redoubt.records.harden import Recipe
from redoubt.records.work import Count

Share = Annotated[float, Field(ge=0, le=1)]


class EpochPoint(Record):
    """One epoch; see `redoubt.harden.Epoch`."""

    number: Annotated[int, Field(gt=0)]
    loss: float
    clean: Share
    robust: Share
    fitted: Share
    radius: float
    steps: Count
    undone: Count
    forwards: Count
    backwards: Count
    seconds: Annotated[float, Field(ge=0)]


class Price(Record):
    """What hardening cost and gained.

    Shares are of the same `examples` held out of training, before and after: unperturbed, and under the training attack
    with twice the steps.  The model as it was may have learnt from them, before hardening held them out.  They guide;
    `redoubt assess` measures.  Passes are of one example each, forward or backward;
    seconds are wall time and the one thing here that another run will not repeat.
    """

    clean_before: Share
    clean_after: Share
    robust_before: Share
    robust_after: Share
    examples: Annotated[int, Field(gt=0)]
    epochs: Count
    forwards: Count
    backwards: Count
    seconds: Annotated[float, Field(ge=0)]
    certified_after: Share | None = Field(
        default=None, description="Share for which interval bounds prove the right answer all over the set."
    )

    @property
    def passes(self) -> int:
        """Forward and backward passes together."""
        return self.forwards + self.backwards


class Swept(Record):
    """One training of several that differ in one thing: in the radius, or in how many examples there were."""

    value: Annotated[float, Field(ge=0)] = Field(
        description="The radius in training as a multiple of the requirement's, or the number of examples."
    )
    clean: Share
    robust: Share
    plain_clean: Share | None = Field(default=None, description="Clean accuracy when trained without an adversary.")


class Hardening(Record):
    """The evidence of one hardening."""

    redoubt: str
    system: str
    against: str = Field(description="The set, in the field's notation.")
    recipe: Recipe
    seed: int
    policy: str = Field(description="Digest of the policy's text.")
    data: str = Field(description="Digest of the training data.")
    model_before: str = Field(description="Digest of the model as it was.")
    model_after: str = Field(description="Digest of the model as it is now.")
    weights: str = Field(description="Digest of the weights file.")
    versions: dict[str, str]
    device: str
    processes: Annotated[int, Field(gt=0)] = 1
    price: Price
    curve: tuple[EpochPoint, ...]
    radii: tuple[Swept, ...] = ()
    sizes: tuple[Swept, ...] = ()
