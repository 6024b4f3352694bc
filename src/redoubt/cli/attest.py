"""`redoubt attest`: what is known of a model, signed for those who load it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.app import app, out
from redoubt.cli.sign import read_key
from redoubt.policy import PolicyFile, read_policy
from redoubt.records import PolicyError, digest
from redoubt.records.canonical import Json
from redoubt.storage import write_atomically

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


@app.command()
def attest(
    policy: Annotated[Path, typer.Argument(help="The policy that the model was assessed by.", show_default=False)],
    key: Annotated[Path, typer.Option(help="The private key (PEM) of whom vouches for it.")],
    evidence: Annotated[
        Path | None, typer.Option(help="Folder that `redoubt assess` wrote.", show_default="POLICY.evidence")
    ] = None,
    hardened: Annotated[
        Path | None,
        typer.Option(help="State the model's origin instead: folder that `redoubt harden` wrote.", show_default="none"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write.", show_default="POLICY.attestation")
    ] = None,
) -> None:
    """Sign what an assessment found of the model of a POLICY, or where the model comes from.

    The attestation is an in-toto statement about the digest of the model's file. Of an assessment: which requirements
    hold, which `redoubt guard` can demand before it serves (guard.demand). Of a hardening: data, starting model and
    recipe, as SLSA provenance. The model is loaded first, to see that the evidence is about it.

    Example: redoubt assess reader.yaml; redoubt attest reader.yaml --key assessor.key
    """
    if evidence is not None and hardened is not None:
        raise PolicyError("--evidence and --hardened are two claims", remedy="attest one, then the other")
    secret, file = read_key(key), read_policy(policy)
    if hardened is not None:
        target, raw = output or policy.with_suffix(".provenance"), _origin(file, hardened, secret)
    else:
        folder = evidence or policy.with_suffix(".evidence")
        target, raw = output or policy.with_suffix(".attestation"), _evidence(file, folder, secret)
    write_atomically(target, raw)
    out.print(f"attested: {target}", markup=False, soft_wrap=True)


def _evidence(file: PolicyFile, folder: Path, secret: "EllipticCurvePrivateKey") -> bytes:
    from redoubt.models import load_model
    from redoubt.report.read import EVIDENCE, read_evidence
    from redoubt.supply.artefact import read_once
    from redoubt.supply.signing.attest import attest_evidence

    found = read_evidence(folder)
    if found.digests.policy != digest(file.policy):
        raise PolicyError(
            f"the evidence in {folder} is of another policy than {file.path}", remedy="assess it again, then attest"
        )
    model = load_model(file.policy.model, file.base, lambda *keys: file.place("model", *keys)).digest()
    if found.digests.model != model:
        raise PolicyError(
            f"the evidence in {folder} is of another model than the one that {file.path} names now",
            remedy="assess it again, then attest",
        )
    text = digest(read_once(folder / EVIDENCE, 256 << 20))
    return attest_evidence(secret, file.policy, found, text, _files(file))


def _origin(file: PolicyFile, folder: Path, secret: "EllipticCurvePrivateKey") -> bytes:
    from redoubt.report.read import read_hardening
    from redoubt.supply.signing.attest import attest_origin

    told, _ = read_hardening(folder)
    files = _files(file)
    if told.weights not in files.values():
        raise PolicyError(
            f"{file.path} names other weights than {folder} describes",
            remedy="give the policy that harden wrote beside the old one: POLICY.hardened.yaml",
        )
    recipe: dict[str, Json] = {
        "against": told.against,
        "recipe": told.recipe.model_dump(mode="json"),
        "seed": told.seed,
        "policy": told.policy,
        "versions": told.versions,
        "model": told.model_after,
    }
    dependencies = {"training data": told.data, "starting model": told.model_before}
    return attest_origin(secret, files, dependencies, recipe, f"urn:redoubt:{told.redoubt}")


def _files(file: PolicyFile) -> dict[str, str]:
    from redoubt.supply.artefact import read_once
    from redoubt.supply.signing.attest import model_file

    name = model_file(file.policy.model)
    return {} if name is None else {Path(name).name: digest(read_once(file.base / name))}
