"""What a verdict on a membership requirement rests on."""

from typing import Annotated, Literal

from pydantic import Field

from redoubt.records.base import Record
from redoubt.records.evidence import Figure, RequirementEvidence, Share
from redoubt.records.work import Count, Work


class RocPoint(Record):
    """At one threshold: others taken for members, and members found."""

    alarms: Count
    found: Count


class MembershipOutcome(Record):
    """What one strategy made of the records."""

    strategy: str
    parameters: dict[str, bool | int | float | str | None]
    measures: tuple[Figure, ...] = Field(description="Of this strategy alone, at 95 % each; none if it broke.")
    roc: tuple[RocPoint, ...] = Field(default=(), description="Its curve, thinned out, of growing alarms.")
    work: Work = Field(default=Work(), description="What it asked of the target.")
    broke: str | None = Field(default=None, description="Why the strategy could not be played to its end.")


class ShadowModels(Record):
    """The models that the adversary trained, and how like the target they are."""

    source: str = Field(description="What was trained.")
    models: Count
    records: Count = Field(description="Records that each of them was trained on.")
    inside: Share = Field(description="Share of them that it answers rightly: the mean over the models.")
    outside: Share = Field(description="The same of the records that it was not trained on.")
    target_inside: Share = Field(description="Share of the members that the target answers rightly.")
    target_outside: Share = Field(description="The same of the others.")


class ExposedRecord(Record):
    """A member that the strongest strategy found easily."""

    row: Count = Field(description="Row in the members as taken.")
    label: Count
    digest: str = Field(description="`sha256:<hex>` over its values, little-endian float32.")
    ahead: Count = Field(description="Others that look at least as much like a member.")
    tensor: str | None = Field(default=None, description="Key of the record in `examples.safetensors`, if shown.")


class MembershipEvidence(RequirementEvidence):
    """What a membership requirement rests on."""

    game: Literal["membership"] = "membership"
    source: str = Field(description="Where the members are from.")
    digest: str = Field(description="Of members and others, `sha256:<hex>`.")
    members: Annotated[int, Field(gt=0)]
    others: Annotated[int, Field(gt=0)]
    outcomes: tuple[MembershipOutcome, ...]
    strongest: str | None = Field(default=None, description="The strategy that found most, by the required measure.")
    shadows: ShadowModels | None = None
    exposed: tuple[ExposedRecord, ...] = Field(default=(), description="The easiest to find first.")

    @property
    def shown(self) -> tuple[str, ...]:
        return tuple(one.tensor for one in self.exposed if one.tensor is not None)
