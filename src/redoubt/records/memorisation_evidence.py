"""What a verdict on a memorisation requirement rests on."""

from typing import Annotated, Literal

from pydantic import Field

from redoubt.records.base import Record
from redoubt.records.evidence import RequirementEvidence, Share
from redoubt.records.work import Count


class ExposedCanary(Record):
    """One canary and its exposure."""

    digest: str = Field(description="Of the secret, `sha256:<hex>`.")
    times: Count = Field(description="How often it stands in the training text.")
    bits: Annotated[float, Field(ge=0)]


class ExtractedPiece(Record):
    """A piece of training text that was claimed as such."""

    digest: str = Field(description="Of its text, `sha256:<hex>`.")
    characters: Count
    at: Count = Field(description="Where in the training text it begins, in characters.")
    measure: str = Field(description="The ranking by which it was suspected most.")
    place: Count = Field(description="Its place there, from 0.")
    text: str | None = Field(default=None, description="If the policy says so.")


class MemorisationEvidence(RequirementEvidence):
    """What a memorisation requirement rests on."""

    game: Literal["memorisation"] = "memorisation"
    source: str = Field(description="The file of canaries, or of the training text.")
    digest: str = Field(description="Of that file, `sha256:<hex>`.")
    method: str = Field(description="How ranks were found, or texts drawn.")
    compared: Count = Field(description="Secrets that each canary was compared with, or texts drawn.")
    misfit: Share = Field(default=0.0, description="Of estimated ranks: how far the fit misses a fresh sample.")
    canaries: tuple[ExposedCanary, ...] = ()
    claims: Count = Field(default=0, description="Texts that were claimed.")
    verbatim: Count = Field(default=0, description="Characters in a row that make a piece of training text.")
    pieces: tuple[ExtractedPiece, ...] = ()
