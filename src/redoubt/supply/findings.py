"""What looking at an artefact gives: for each file a judgement, and for what speaks against it a finding."""

import enum
from typing import Annotated

from pydantic import Field

from redoubt.records.base import Record


class Kind(enum.StrEnum):
    """What speaks against a file.

    RUNS_CODE: reading it the way it is meant to be read would run what its author put there.
    UNKNOWN_NAME: it names a class or function that is not on the allow-list; whether that is harmful is not known.
    CUSTOM_OPERATOR: it asks for an operator that comes from outside its format: a library of somebody else's.
    LEADS_OUTSIDE: it makes its reader open a file that is not part of it.
    DECEIVES: it is another thing to another reader, or to the eye: a wrong name, two entries of one name, hidden bytes.
    BOMB: small as it is, reading it would take more memory or time than it says.
    DAMAGED: it is not what its format says.
    UNKNOWN_FORMAT: no reader of ours can tell what it holds.
    NEEDS: to look into it takes a library that is not installed.
    """

    RUNS_CODE = "runs-code"
    UNKNOWN_NAME = "unknown-name"
    CUSTOM_OPERATOR = "custom-operator"
    LEADS_OUTSIDE = "leads-outside"
    DECEIVES = "deceives"
    BOMB = "bomb"
    DAMAGED = "damaged"
    UNKNOWN_FORMAT = "unknown-format"
    NEEDS = "needs-library"


UNDECIDED = frozenset({Kind.UNKNOWN_FORMAT, Kind.NEEDS})
"""Kinds that say that nothing could be told, rather than that something is wrong.  Neither is loaded."""


class Finding(Record):
    """One thing that speaks against a file, and what to do about it."""

    kind: Kind
    place: str = Field(description="Where inside the file: an archive's member, a byte, a node, a key; may be empty.")
    what: str = Field(description="What stands there, and what it would do.")
    remedy: str = Field(description="What to do.")


class Judgement(Record):
    """What one file is, and what speaks against it.  Allowed is what nothing speaks against."""

    file: str = Field(description="Its path as given, or relative to the folder as given.")
    format: str = Field(description="What it is: `safetensors`, `torch`, …; or in words what it seems to be.")
    size: Annotated[int, Field(ge=0)] = Field(description="In bytes.")
    digest: str = Field(description="`sha256:<hex>` of the bytes that were judged; empty where none were read.")
    findings: tuple[Finding, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the file is of a known format, and all of its contents are allowed."""
        return not self.findings

    @property
    def undecided(self) -> bool:
        """Whether nothing is known against the file but that it could not be judged."""
        return bool(self.findings) and all(finding.kind in UNDECIDED for finding in self.findings)
