"""What a policy demands of a model's file before it is read, and of the evidence before the model is served."""

from typing import Annotated, Literal

from pydantic import Field

from redoubt.records.base import Record

Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class Signature(Record):
    """A signature (OpenSSF model signing, by key) that must hold before anything of the model is read."""

    bundle: str = Field(description="The signature's file, as `redoubt sign` or `model_signing sign key` writes it.")
    key: str = Field(description="A PEM file with the public key of whom is trusted.")
    of: str | None = Field(
        default=None,
        description="The folder that was signed: every file in it must be as it was. The model's file alone when "
        "absent.",
    )


Accepted = Literal["proved", "withstood"]


class Demand(Record):
    """An attestation that must be there before the guard serves the model: what an assessment of it found."""

    attestation: str = Field(description="The attestation's file, as `redoubt attest` writes it.")
    key: str = Field(description="A PEM file with the public key of whom is trusted to assess.")
    accept: Annotated[tuple[Accepted, ...], Field(min_length=1)] = Field(
        default=("proved", "withstood"), description="Verdicts that will do, for every requirement of this policy."
    )
