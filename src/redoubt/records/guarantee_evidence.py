"""What a verdict on a privacy requirement rests on."""

from typing import Annotated, Literal

from pydantic import Field

from redoubt.records.base import Record
from redoubt.records.evidence import RequirementEvidence, Share
from redoubt.records.privacy import PrivacyAudit
from redoubt.records.work import Count


class SpentPart(Record):
    """One event of the ledger, and its part in the sum."""

    what: str = Field(description="What was done, in one line.")
    on: str = Field(description="The group of records that it looked at.")
    share: Share = Field(description="Its part of the whole, by the Renyi divergence at the order that decides.")
    alone: Annotated[float, Field(ge=0)] = Field(description="The epsilon that it would cost by itself.")


class PrivacyEvidence(RequirementEvidence):
    """What a privacy requirement rests on."""

    game: Literal["privacy"] = "privacy"
    ledger: str = Field(description="The ledger's file, as the policy names it.")
    digest: str = Field(description="Of its bytes, `sha256:<hex>`.")
    group: str
    by: str = Field(description="The accountant whose epsilon is judged.")
    cross_checks: dict[str, float] = Field(description="Other accountants' epsilons, where they know all events.")
    lower: float | None = Field(description="No accountant may say less; None where no such figure is known.")
    parts: tuple[SpentPart, ...]
    searched: Count = Field(description="Settings among which some were chosen by the records, and not counted.")
    said: tuple[str, ...] = Field(description="What it means, in plain sentences.")
    audit: PrivacyAudit | None = None
    audit_file: str | None = Field(default=None, description="The audit's file, as the policy names it.")
