"""What a policy says of the privacy game: which guarantee must hold, and where it is written down."""

from typing import Literal

from pydantic import Field

from redoubt.records.base import Name
from redoubt.records.requirement import BoundField, Requirement


class PrivacyRequirement(Requirement):
    """The training must be differentially private: what it did stands in a ledger, and an accountant adds it up."""

    measures = ("epsilon",)

    game: Literal["privacy"] = Field(description="The security game that is played.")
    require: BoundField = Field(description="The bound that must hold: `epsilon <= 3 at delta 1e-5`.")
    ledger: str = Field(
        min_length=1,
        description="The privacy ledger that the training wrote, a JSON file: what was done with which records.",
    )
    group: Name = Field(default="everyone", description="The group of records that must be protected so far.")
    audit: str | None = Field(
        default=None,
        min_length=1,
        description="The result of an audit of that training, as `redoubt privacy audit --json` prints it: a lower "
        "bound on epsilon. Above what is required it is a violation; above what the ledger claims the ledger proves "
        "nothing.",
    )
