"""The one way from a model's file to whoever parses it.

1. The file is opened once, and read whole, within bounds.
2. If the policy pins a digest, the bytes must have it.
3. If the policy demands a signature, it must hold over the whole folder, and name these very bytes.
4. The scanner's allow-list must have nothing against them, and they must be of the format that is wanted.

What is then parsed are the bytes that were looked at: nobody can exchange the file between the look and the load.

Not covered: Python modules that a policy names as a factory are imported by Python itself, after a demanded signature
of their folder was checked.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from redoubt.records import ModelError, Signature, SignatureError
from redoubt.records.canonical import digest
from redoubt.supply.artefact import MOST_BYTES, read_once
from redoubt.supply.findings import Kind
from redoubt.supply.judge import judge
from redoubt.supply.scan import sizes_beside
from redoubt.supply.signing.dsse import read_public_key
from redoubt.supply.signing.manifest import Manifest, verify_model

_MOST_KEY = 2**16


class Demanded(Protocol):
    """What of a policy says what a model's file must be: `model`, or a second model."""

    @property
    def digest(self) -> str | None: ...
    @property
    def signature(self) -> Signature | None: ...


class Gate:
    """Admits the files of one model.

    Args:
        digest: `sha256:<hex>` that the model's file must have; None for any.
        vouched: gives the manifest of a signature that was checked; None if none is demanded.

    >>> Gate().admit(Path("/nowhere/model.onnx"), "onnx")
    Traceback (most recent call last):
    redoubt.records.errors.ModelError: cannot read /nowhere/model.onnx: No such file or directory
      remedy: relative paths start at the policy's folder
    """

    def __init__(self, digest: str | None = None, vouched: Callable[[Path], Manifest] | None = None) -> None:
        self._digest, self._vouched = digest, vouched
        self._manifest: Manifest | None = None

    @classmethod
    def of(cls, demanded: Demanded, base: Path) -> "Gate":
        """The gate that a policy's section demands; `base` is the policy's folder."""
        signature = demanded.signature
        if signature is None:
            return cls(demanded.digest)

        def vouched(file: Path) -> Manifest:
            root = file if signature.of is None else base / signature.of
            key = read_public_key(read_once(base / signature.key, _MOST_KEY), signature.key)
            return verify_model(root, key, base / signature.bundle)

        return cls(demanded.digest, vouched)

    def admit(self, path: Path, wanted: str, most: int = MOST_BYTES) -> bytes:
        """The file's bytes, if nothing speaks against them.

        Args:
            path: of the model's file.
            wanted: its format: `safetensors`, `onnx` or `skops`.
            most: bytes that are read.

        Raises:
            ModelError: it cannot be read, or is refused; the message says why, where in the file, and what to do.
        """
        raw = read_once(path, most)
        self._check_pin(path, raw)
        self._check_signed(path, raw)
        judged = judge(path.name, raw, sizes_beside(path))
        first = judged.findings[0] if judged.findings else None
        if judged.format != wanted:
            found = f" (it {first.what})" if first and first.kind in (Kind.RUNS_CODE, Kind.UNKNOWN_NAME) else ""
            raise ModelError(
                f"{path.name} is {called(judged.format)}, not {called(wanted)}{found}; nothing in it was executed",
                remedy=_INSTEAD[wanted],
            )
        if first is not None:
            sound = first.kind not in (Kind.DAMAGED, Kind.DECEIVES, Kind.BOMB)
            said = f"{path.name}: " if sound else f"{path.name} is not a sound {_SOUND[wanted]} file: "
            where = f"{first.place} " if first.place else "it "
            raise ModelError(f"{said}{where}{first.what}; nothing in it was executed", remedy=first.remedy)
        return raw

    def part(self, path: Path, most: int) -> bytes:
        """The bytes of a file of tensors beside an ONNX model, which holds numbers and no format of its own.

        Raises:
            ModelError: it cannot be read, is not what was signed, or the model is pinned by a digest, which says
                nothing about this file.
        """
        if self._digest is not None and self._vouched is None:
            raise ModelError(
                f"{path.name} is a part of the model, and the pinned digest covers the model's own file alone",
                remedy="save the model as one file, or demand a signature of the folder",
            )
        raw = read_once(path, most, follow_links=False)
        self._check_signed(path, raw)
        return raw

    def _check_pin(self, path: Path, raw: bytes) -> None:
        if self._digest is not None and digest(raw) != self._digest:
            raise ModelError(
                f"{path.name} has the digest {digest(raw)}, and the policy says {self._digest}; nothing in it was "
                f"executed",
                remedy="find out who changed the file; if it was you, write the new digest",
            )

    def _check_signed(self, path: Path, raw: bytes) -> None:
        if self._vouched is None:
            return
        try:
            if self._manifest is None:
                self._manifest = self._vouched(path)
            self._manifest.check(path, raw)
        except SignatureError as error:
            raise ModelError(f"{error.what}; nothing in it was executed", remedy=error.remedy) from error


OPEN = Gate()
"""For files of which no policy speaks: the allow-list alone decides.  It holds nothing, and may be shared."""


def called(format_name: str) -> str:
    """A format in a sentence.

    >>> called("torch"), called("npz"), called("a tar archive")
    ('a zip archive with a pickle inside, as torch.save writes it', 'a npz file', 'a tar archive')
    """
    if format_name in _CALLED:
        return _CALLED[format_name]
    return format_name if format_name[:2] in ("a ", "an", "of") else f"a {format_name} file"


_CALLED = {
    "pickle": "a pickle",
    "packed pickle": "a packed pickle, as joblib writes it",
    "torch": "a zip archive with a pickle inside, as torch.save writes it",
    "torch (before 1.6)": "a pickle, as torch.save wrote it before 1.6",
    "TorchScript": "a TorchScript program",
    "npy": "a NumPy array",
    "hdf5": "an HDF5 file",
    "text": "a text",
    "onnx": "an ONNX model",
    "safetensors": "a safetensors file",
}
_SOUND = {"safetensors": "safetensors", "onnx": "ONNX", "skops": "skops"}
_INSTEAD = {
    "safetensors": "save the weights with safetensors.torch.save_file(model.state_dict(), 'model.safetensors'); "
    "a pickle can run any code when it is read, so Redoubt never reads one",
    "onnx": "export it with torch.onnx.export(model, example, 'model.onnx')",
    "skops": "save it with skops.io.dump(model, 'model.skops')",
}
