"""Where candidates are kept: `POLICY.updates/<id>/`, the refused ones and those that wait for a person as well.

candidate.<suffix>   the file that was handed in, byte for byte
handed/              an ONNX model with tensors in files beside it, as it was handed in
weights.*            what came of a batch, or of such a model; then the model's file if it is put in force
before.yaml          the policy that it was compared with
evidence.json        what was measured, and the outcome (canonical JSON)
state.json           what became of it: by whom, when
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from redoubt.records import PolicyError, StorageError, UpdateEvidence, canonical_json
from redoubt.records.base import Record
from redoubt.storage import write_atomically

Became = Literal["person", "refused", "in force", "rejected", "rolled back"]
ANCHOR = "anchor.json"
WEIGHTS, PACKED, HANDED = "weights.safetensors", "weights.onnx", "handed"


class State(Record):
    """What became of a candidate.

    Attributes:
        became: `person` as long as nobody has decided.
        by: who decided: `gate`, or a person's name.
        at: seconds since 1970-01-01 UTC.
        after: digest of the policy text that put it in force; None if none did.
    """

    became: Became
    by: Annotated[str, Field(min_length=1, max_length=200)]
    at: float
    after: str | None = None


class Anchor(Record):
    """The last model that a person vouched for.

    Attributes:
        file: its file, as it would stand in the policy.
        digest: of the file.
    """

    file: str
    digest: str


class Shelf:
    """The candidates of one policy."""

    def __init__(self, policy: Path) -> None:
        self.folder = policy.with_suffix(".updates")

    def of(self, identity: str) -> Path:
        """The folder of one candidate."""
        return self.folder / identity

    def all(self) -> list[tuple[UpdateEvidence, State]]:
        """Every candidate, oldest decision first."""
        if not self.folder.is_dir():
            return []
        found = [self.read(path.parent.name) for path in self.folder.glob("*/state.json")]
        return sorted(found, key=lambda pair: (pair[1].at, pair[0].id))

    def read(self, identity: str) -> tuple[UpdateEvidence, State]:
        """One candidate.

        Raises:
            PolicyError: there is none of that id.
            StorageError: what is kept of it cannot be read.
        """
        folder = self.of(identity)
        known = identity.isalnum() and (folder / "state.json").is_file()
        if not known:
            raise PolicyError(f"there is no candidate '{identity[:40]}'", remedy="see: redoubt update POLICY --list")
        try:
            evidence = UpdateEvidence.model_validate_json((folder / "evidence.json").read_bytes())
            return evidence, State.model_validate_json((folder / "state.json").read_bytes())
        except (OSError, ValidationError) as error:
            raise StorageError(f"cannot read what is kept in {folder}: {error}") from error

    def state(self, identity: str, state: State) -> None:
        """Note what became of a candidate."""
        write_atomically(self.of(identity) / "state.json", canonical_json(state))

    def anchor(self) -> Anchor | None:
        """The last model that a person vouched for; None before the first candidate."""
        path = self.folder / ANCHOR
        try:
            return Anchor.model_validate_json(path.read_bytes()) if path.is_file() else None
        except (OSError, ValidationError) as error:
            raise StorageError(f"cannot read {path}: {error}") from error

    def vouch(self, anchor: Anchor) -> None:
        """From now on, updates are counted together from this model."""
        write_atomically(self.folder / ANCHOR, canonical_json(anchor))

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else changes what is in force meanwhile.

        Raises:
            StorageError: the folder cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"cannot write to {self.folder}: {error.strerror or error}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
