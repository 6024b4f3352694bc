"""`redoubt sign` and `redoubt verify`: signatures of whole models, and statements about where they come from."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.app import app, out
from redoubt.records import ModelError, PolicyError
from redoubt.storage import write_atomically

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_PASSWORD = "REDOUBT_KEY_PASSWORD"  # noqa: S105  the name of the variable
_Model = Annotated[Path, typer.Argument(help="The folder of a model, or its one file.", show_default=False)]


@app.command()
def sign(
    model: _Model,
    key: Annotated[Path, typer.Option(help="The private key (PEM; ECDSA over P-256, P-384 or P-521).")],
    signature: Annotated[
        Path | None,
        typer.Option("--signature", "-s", help="Where to write.", show_default="MODEL/model.sig or MODEL.sig"),
    ] = None,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="First make the key (P-256), and its public half as KEY.pub.")
    ] = False,
) -> None:
    """Sign every file of a MODEL with a key (OpenSSF model signing 1.0), so that any later change is found.

    Works offline. `model_signing verify key` reads what this writes. The password of a key, if it has one, is taken
    from the environment variable REDOUBT_KEY_PASSWORD.

    Example: redoubt sign models/reader --key signer.key --new-key
    """
    from redoubt.supply.signing.manifest import sign_model

    if new_key:
        make_key(key)
    if not model.exists():
        raise ModelError(f"there is no {model}", remedy="name the folder of a model, or its file")
    target = signature or signature_of(model)
    write_atomically(target, sign_model(model, read_key(key), target))
    out.print(f"signed {model}: {target}", markup=False, soft_wrap=True)


@app.command()
def verify(
    model: _Model,
    key: Annotated[Path, typer.Option(help="The public key (PEM) of whom you trust.")],
    signature: Annotated[
        Path | None,
        typer.Option("--signature", "-s", help="The signature.", show_default="MODEL/model.sig or MODEL.sig"),
    ] = None,
) -> None:
    """Check that a MODEL is what was signed: every file is there as it was, and no other.

    Reads what `redoubt sign` and `model_signing sign key` write. Files that were changed, removed or added are named.

    Exit codes: 0 it is; 1 it is not, or the signature does not hold; 3 an argument is wrong or something cannot be
    read; 4 a fault of Redoubt's own.

    Example: redoubt verify models/reader --key signer.key.pub
    """
    from redoubt.supply.signing.dsse import read_public_key
    from redoubt.supply.signing.manifest import verify_model

    if not model.exists():
        raise ModelError(f"there is no {model}", remedy="name the folder of a model, or its file")
    manifest = verify_model(model, read_public_key(_bytes(key), str(key)), signature or signature_of(model))
    out.print(f"{model} is what was signed: {len(manifest.digests)} files", markup=False, soft_wrap=True)


def signature_of(model: Path) -> Path:
    """Where a signature lies unless told otherwise: in the model's folder, or beside its file."""
    return model / "model.sig" if model.is_dir() else model.with_name(f"{model.name}.sig")


def read_key(path: Path) -> "EllipticCurvePrivateKey":
    """The private key in a file; its password, if it has one, is in the environment.

    Raises:
        PolicyError: it is no such key.
    """
    from redoubt.supply.signing.dsse import read_private_key

    password = os.environ.get(_PASSWORD)
    return read_private_key(_bytes(path), str(path), password.encode() if password else None)


def make_key(path: Path) -> None:
    """A new private key over P-256, readable by its owner alone, and its public half beside it.

    Raises:
        PolicyError: there is a file already.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    public = path.with_name(f"{path.name}.pub")
    key = ec.generate_private_key(ec.SECP256R1())
    password = os.environ.get(_PASSWORD)
    lock = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    shared = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secret)
    except FileExistsError as error:
        raise PolicyError(f"{path} exists already", remedy="leave --new-key out to sign with it") from error
    except OSError as error:
        raise PolicyError(f"cannot write {path}: {error.strerror or error}", remedy="choose another place") from error
    write_atomically(public, shared)
    out.print(f"made {path}, to be kept secret, and {public}, to be given away", markup=False, soft_wrap=True)


def _bytes(path: Path) -> bytes:
    from redoubt.supply.artefact import read_once

    try:
        return read_once(path, 2**16)
    except ModelError as error:
        raise PolicyError(error.what, remedy="name a file with a key (PEM)") from error
