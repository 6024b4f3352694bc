"""Signatures of whole models after OpenSSF model signing 1.0: a manifest of all files, in an in-toto statement.

The predicate lists each file with its digest; the subject is the model, with the digest over all of these.  What
`model_signing sign key` writes is read, and the other way round.

Stricter than that tool: nothing is left out but the signature's own file, so that a file added under `.git` is found as
well; symbolic links are always refused; names are checked before anything is looked up by them.

Source: github.com/sigstore/model-transparency 1.1.1, src/model_signing/.  Not read: digests by BLAKE3, and signatures
over shards of files.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.records import ModelError, SignatureError
from redoubt.supply.artefact import files_below, read_once
from redoubt.supply.flaw import shown
from redoubt.supply.signing.bundle import seal, unseal

PREDICATE = "https://model_signing/signature/v1.0"
ALONE = "."
"""The name of the one file of a model that is a file."""
_HASHES: dict[str, Callable[..., Any]] = {"sha256": hashlib.sha256, "blake2b": hashlib.blake2b}
_CHUNK = 2**20
_SHOWN = 5


@dataclass(frozen=True)
class Manifest:
    """What was signed.

    Attributes:
        root: the folder, or the file.
        digests: of each file by its name relative to the root; `.` for a file alone.
        algorithm: of these digests.
    """

    root: Path
    digests: Mapping[str, str]
    algorithm: str = "sha256"

    def check(self, path: Path, raw: bytes) -> None:
        """Whether bytes that were read from `path` are those that were signed under its name.

        Raises:
            SignatureError: they are not, or nothing was signed under that name.
        """
        name = ALONE if self.root == path else None
        if name is None:
            try:
                name = path.absolute().relative_to(self.root.absolute()).as_posix()
            except ValueError:
                name = ""
        if name not in self.digests:
            raise SignatureError(
                f"{path.name} is not among the files that were signed", remedy="sign the folder that it stands in"
            )
        if _HASHES[self.algorithm](raw).hexdigest() != self.digests[name]:
            raise SignatureError(f"{path.name} is not what was signed", remedy="load nothing of it; ask for it again")


def digest_files(root: Path, leave_out: frozenset[Path] = frozenset(), algorithm: str = "sha256") -> Manifest:
    """The digests of a file, or of all files of a folder.

    Args:
        root: the file or folder.
        leave_out: files that are no part of it: the signature's own.
        algorithm: `sha256` or `blake2b`.

    Raises:
        SignatureError: there is a symbolic link, or something that is no plain file.
        ModelError: a file cannot be read, or there are none, or too many.
    """
    if not root.is_dir():
        return Manifest(root, {ALONE: _digest(root, ALONE, algorithm)}, algorithm)
    skipped = {path.absolute() for path in leave_out}
    found = {name: _digest(path, name, algorithm) for path, name in files_below(root) if path.absolute() not in skipped}
    if not found:
        raise ModelError(f"{root} has no files", remedy="name the folder of a model")
    return Manifest(root, found, algorithm)


def sign_model(root: Path, key: ec.EllipticCurvePrivateKey, signature: Path) -> bytes:
    """The signature of a model, as the text of a bundle; where it will be written is no part of the model.

    Raises:
        SignatureError, ModelError: as `digest_files`.
    """
    manifest = digest_files(root, frozenset({signature}))
    ordered = sorted(manifest.digests, key=PurePosixPath)
    total = hashlib.sha256(b"".join(bytes.fromhex(manifest.digests[name]) for name in ordered)).hexdigest()
    serialization: dict[str, Any] = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    if root.is_dir() and signature.absolute().is_relative_to(root.absolute()):
        serialization["ignore_paths"] = [signature.absolute().relative_to(root.absolute()).as_posix()]
    return seal(
        key,
        [{"name": root.absolute().name, "digest": {"sha256": total}}],
        PREDICATE,
        {
            "serialization": serialization,
            "resources": [{"name": name, "algorithm": "sha256", "digest": manifest.digests[name]} for name in ordered],
        },
    )


def verify_model(root: Path, key: ec.EllipticCurvePublicKey, signature: Path) -> Manifest:
    """Check a model against its signature: every file is there as it was signed, and no other.

    Raises:
        SignatureError: the signature does not hold, or files were changed, added, removed or renamed; each is named.
        ModelError: a file cannot be read.
    """
    told = unseal(read_once(signature, 64 * 2**20), key, signature.name)
    signed = _read(told, root, signature.name)
    there = digest_files(root, frozenset({signature}), signed.algorithm)
    wrong = [
        *_listed(
            "changed", [n for n in signed.digests if n in there.digests and there.digests[n] != signed.digests[n]]
        ),
        *_listed("removed", [n for n in signed.digests if n not in there.digests]),
        *_listed("added", [n for n in there.digests if n not in signed.digests]),
    ]
    if wrong:
        raise SignatureError(
            f"{root} is not what was signed: {'; '.join(wrong)}",
            remedy="load nothing of it; ask its author for the files again, or for a new signature",
        )
    return signed


def _listed(kind: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{kind}: {', '.join(shown(name) for name in sorted(names)[:_SHOWN])}{more}"]


def _read(told: dict[str, Any], root: Path, name: str) -> Manifest:
    """The manifest in a statement whose signature holds.  Its author is trusted, and yet may have written nonsense."""

    def refuse(what: str) -> SignatureError:
        return SignatureError(f"{name}: {what}", remedy="sign the model again, by files and SHA-256")

    if told["predicateType"] != PREDICATE:
        raise refuse(f"is a claim of another kind: {shown(told['predicateType'])}")
    predicate, subjects = told["predicate"], told["subject"]
    serialization, resources = predicate.get("serialization"), predicate.get("resources")
    if not isinstance(serialization, dict) or serialization.get("method") != "files":
        raise refuse("was not signed file by file")
    if not isinstance(resources, list) or not resources or len(subjects) != 1:
        raise refuse("lists no files, or more than one model")
    found: dict[str, str] = {}
    total = hashlib.sha256()
    algorithms = set()
    for resource in resources:
        if not isinstance(resource, dict):
            raise refuse("lists something that is no file")
        file, digest, algorithm = (resource.get(key) for key in ("name", "digest", "algorithm"))
        if not isinstance(file, str) or not isinstance(digest, str) or algorithm not in _HASHES:
            raise refuse(f"lists a file by {shown(algorithm)}, which is not read here")
        pure = PurePosixPath(file)
        if file in found or pure.is_absolute() or ".." in pure.parts or pure.as_posix() != file or "\0" in file:
            raise refuse(f"lists '{shown(file)}' twice, or outside the model")
        try:
            total.update(bytes.fromhex(digest))
        except ValueError:
            raise refuse(f"lists '{shown(file)}' with a digest that is none") from None
        found[file] = digest.lower()
        algorithms.add(str(algorithm))
    said = subjects[0].get("digest")
    if len(algorithms) != 1 or not isinstance(said, dict) or said.get("sha256") != total.hexdigest():
        raise refuse("has a digest of the model that is not the one over its files")
    return Manifest(root, found, algorithms.pop())


def _digest(path: Path, name: str, algorithm: str) -> str:
    """The digest of a plain file, that is not reached by a link."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if name == ALONE else os.O_NOFOLLOW)
    state = _HASHES[algorithm]()
    try:
        if name != ALONE and path.is_symlink():
            raise SignatureError(
                f"{shown(name)} is a symbolic link, which no signature covers", remedy="put a copy in its place"
            )
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SignatureError(f"{shown(name)} is no plain file", remedy="remove it")
            while chunk := file.read(_CHUNK):
                state.update(chunk)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}", remedy="name a model") from error
    result: str = state.hexdigest()
    return result
