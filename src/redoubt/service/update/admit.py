"""A candidate as it is handed in: read once, through the supply gate."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from redoubt.models.onnx_file import MAX_BYTES
from redoubt.policy import PolicyFile
from redoubt.records import ModelError, PolicyError, digest
from redoubt.supply.artefact import MOST_BYTES, read_once
from redoubt.supply.gate import Gate
from redoubt.supply.graphs.onnx import externals_of
from redoubt.supply.judge import judge
from redoubt.supply.scan import sizes_beside
from redoubt.supply.signing.bundle import MOST_BUNDLE
from redoubt.supply.signing.dsse import read_public_key
from redoubt.supply.signing.manifest import Manifest, verify_model

_WANTED = {"torch": "safetensors", "onnx": "onnx", "sklearn": "skops"}
_SOUND_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MOST_BATCH = 2 * 2**30
_MOST_KEY = 2**16


@dataclass(frozen=True)
class Handed:
    """A candidate's file.

    Attributes:
        kind: weights, or a batch of examples.
        name: under which it is kept; a signature holds for a file of its name.
        raw: its bytes.
        why: what the supply gate has against it; empty if nothing.
        bundle: its signature, if the policy demands one.
        parts: of an ONNX model, the files of tensors beside it, by their names from there.
    """

    kind: Literal["weights", "batch"]
    name: str
    raw: bytes
    why: str
    bundle: bytes | None = None
    parts: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of the bytes; with files beside them, of all digests."""
        own = digest(self.raw)
        return digest([own, {name: digest(raw) for name, raw in self.parts.items()}]) if self.parts else own

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.raw) + sum(len(raw) for raw in self.parts.values())


def hand_in(candidate: Path, file: PolicyFile) -> Handed:
    """Read a candidate once, and look at it before anything else does.

    A file of `.npz` is a batch of examples (arrays `x` and `y`); any other has to be the model's file.  Where the
    policy demands a signature, `FILE.sig` has to hold by the same key.

    Raises:
        ModelError: it cannot be read.
        PolicyError: a batch cannot be learnt here.
    """
    model = file.policy.model
    scheme = model.source.partition(":")[0]
    if candidate.suffix.lower() == ".npz":
        if scheme != "torch":
            raise PolicyError(
                f"a model of {scheme}: learns no batch", remedy="train it where it comes from, and hand in its file"
            )
        if model.signature is not None:
            raise PolicyError(
                "the policy demands a signature, and nobody has signed what comes of a batch",
                file.place("model", "signature"),
                remedy="learn the batch elsewhere, sign the weights, and hand them in",
            )
        raw = read_once(candidate, _MOST_BATCH)
        judged = judge(candidate.name, raw, sizes_beside(candidate))
        found = judged.findings[0] if judged.findings else None
        why = f"The batch {found.what}; nothing in it was executed." if found else ""
        if judged.format != "npz" and not why:
            why = f"The batch is {judged.format}, not an archive of NumPy arrays."
        return Handed("batch", "batch.npz", raw, why)
    raw = read_once(candidate, MOST_BYTES)
    name = candidate.name if _SOUND_NAME.fullmatch(candidate.name) else f"candidate.{_WANTED[scheme]}"
    try:
        admitted = Gate(digest(raw), _vouched(candidate, file)).admit(candidate, _WANTED[scheme])
    except ModelError as error:
        return Handed("weights", name, raw, f"{error.what}.")
    signed = read_once(_signature(candidate), MOST_BUNDLE) if model.signature is not None else None
    beside = sorted({each.location for each in externals_of(admitted)}) if scheme == "onnx" else []
    if beside and signed is not None:
        why = f"The signature is about {candidate.name} alone, and its tensors lie in {beside[0]}, which nobody signed."
        return Handed("weights", name, raw, why)
    try:
        parts = _parts(candidate, beside, MAX_BYTES - len(raw))
    except ModelError as error:
        return Handed("weights", name, raw, f"{error.what}.")
    return Handed("weights", name, admitted, "", signed, parts)


def _parts(candidate: Path, beside: list[str], room: int) -> dict[str, bytes]:
    """The files of tensors beside an ONNX model, whose places the supply gate has found sound."""
    folder, parts = candidate.resolve().parent, {}
    for location in beside:
        file = folder / location
        if not file.resolve().is_relative_to(folder):
            raise ModelError(f"{candidate.name} reads {location}, which leads out of its folder")
        parts[location] = read_once(file, max(room, 0), follow_links=False)
        room -= len(parts[location])
    return parts


def _signature(candidate: Path) -> Path:
    return candidate.with_name(f"{candidate.name}.sig")


def _vouched(candidate: Path, file: PolicyFile) -> Callable[[Path], Manifest] | None:
    """What the gate asks for a manifest, if the policy demands a signature."""
    signature = file.policy.model.signature
    if signature is None:
        return None
    key_file = signature.key

    def vouched(path: Path) -> Manifest:
        key = read_public_key(read_once(file.base / key_file, _MOST_KEY), key_file)
        return verify_model(path, key, _signature(candidate))

    return vouched
