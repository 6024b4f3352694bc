"""Signed statements about a model: what an assessment found, and where it comes from.

Both are in-toto statements (version 1) in a Sigstore bundle, so that others can read them.  The assessment's is a test
result (in-toto.io/attestation/test-result/v0.1): requirements that hold under `passedTests`, violated ones under
`failedTests`, undecided ones under `warnedTests`; what Redoubt's guard asks for beyond that is under `redoubt`.  Origin
is SLSA provenance (slsa.dev/provenance/v1).
"""

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.records import Demand, Evidence, ModelSource, Policy, SignatureError, Verdict, digest
from redoubt.records.canonical import Json
from redoubt.supply.flaw import shown
from redoubt.supply.signing.bundle import seal, unseal

RESULT = "https://in-toto.io/attestation/test-result/v0.1"
PROVENANCE = "https://slsa.dev/provenance/v1"
TRAINING = "urn:redoubt:training:1"
_HOLDS = (Verdict.PROVED, Verdict.WITHSTOOD)


def claim_of(policy: Policy, requirement: str) -> str:
    """The digest of what a requirement asks for: all of it, and its adversary."""
    wanted = next(each for each in policy.requirements if each.id == requirement)
    return digest([digest(wanted), digest(policy.adversaries[wanted.adversary])])


def attest_evidence(
    key: ec.EllipticCurvePrivateKey, policy: Policy, evidence: Evidence, evidence_digest: str, files: Mapping[str, str]
) -> bytes:
    """What an assessment found, as a signed statement about the model's files.

    Args:
        key: of whom vouches for the assessment.
        policy: that was assessed.
        evidence: what came of it.
        evidence_digest: `sha256:<hex>` of the file `evidence.json`.
        files: `sha256:<hex>` of each file of the model, by name; with none, the evidence itself is the subject.
    """
    verdicts = {each.id: each.verdict for each in evidence.requirements}
    result = (
        "FAILED"
        if Verdict.VIOLATED in verdicts.values()
        else "WARNED"
        if Verdict.UNDECIDED in verdicts.values()
        else "PASSED"
    )
    predicate: dict[str, Json] = {
        "result": result,
        "configuration": [
            {"name": "evidence.json", "digest": _hex(evidence_digest)},
            {"name": "data", "digest": _hex(evidence.digests.data)},
        ],
        "passedTests": [name for name, verdict in verdicts.items() if verdict in _HOLDS],
        "warnedTests": [name for name, verdict in verdicts.items() if verdict is Verdict.UNDECIDED],
        "failedTests": [name for name, verdict in verdicts.items() if verdict is Verdict.VIOLATED],
        "redoubt": {
            "version": evidence.redoubt,
            "system": evidence.system,
            "model": evidence.digests.model,
            "code": evidence.digests.code,
            "requirements": [
                {"id": name, "verdict": verdict.value, "claim": claim_of(policy, name)}
                for name, verdict in verdicts.items()
            ],
        },
    }
    return seal(key, _subjects(files or {"evidence.json": evidence_digest}), RESULT, predicate)


def check_evidence(raw: bytes, key: ec.EllipticCurvePublicKey, demand: Demand, policy: Policy, model: str) -> None:
    """Whether an attestation says that this very model holds what this policy requires.

    Args:
        raw: the attestation.
        key: of whom is trusted.
        demand: which verdicts will do.
        policy: the one that is to be enforced.
        model: the model's digest, as it was loaded.

    Raises:
        SignatureError: the signature does not hold, it is about another model, or a requirement is missing, another
            one, or has another verdict.
    """
    name = demand.attestation
    told = unseal(raw, key, name)
    if told["predicateType"] != RESULT:
        raise SignatureError(f"{name} is a claim of another kind: {shown(told['predicateType'])}", remedy=_AGAIN)
    said = told["predicate"].get("redoubt")
    rows = said.get("requirements") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(rows, list):
        raise SignatureError(f"{name} does not say what was required", remedy=_AGAIN)
    if said.get("model") != model:
        raise SignatureError(
            f"{name} is about another model, {shown(said.get('model'))}; the one that was loaded is {model}",
            remedy=_AGAIN,
        )
    found = {row.get("id"): row for row in rows if isinstance(row, dict)}
    if len(found) != len(rows):
        raise SignatureError(f"{name} speaks of one requirement twice", remedy=_AGAIN)
    for requirement in policy.requirements:
        row = found.get(requirement.id)
        if row is None:
            raise SignatureError(f"{name} says nothing of requirement '{requirement.id}'", remedy=_AGAIN)
        if row.get("claim") != claim_of(policy, requirement.id):
            raise SignatureError(
                f"{name} is about another requirement '{requirement.id}' than this policy's", remedy=_AGAIN
            )
        if row.get("verdict") not in demand.accept:
            raise SignatureError(
                f"{name}: requirement '{requirement.id}' is {shown(row.get('verdict'))}, and the policy accepts "
                f"{' or '.join(demand.accept)}",
                remedy="harden the model, or assess it with more examples; then attest it again",
            )


def attest_origin(
    key: ec.EllipticCurvePrivateKey,
    files: Mapping[str, str],
    dependencies: Mapping[str, str],
    recipe: Mapping[str, Json],
    builder: str,
) -> bytes:
    """Where a model comes from: its data, its code and its recipe, as SLSA provenance.

    Args:
        key: of whom trained it.
        files: `sha256:<hex>` of each file of the model, by name.
        dependencies: `sha256:<hex>` of data, code and starting weights, by name.
        recipe: how it was trained.
        builder: what trained it: a URI.
    """
    predicate: dict[str, Json] = {
        "buildDefinition": {
            "buildType": TRAINING,
            "externalParameters": dict(recipe),
            "resolvedDependencies": [{"name": name, "digest": _hex(value)} for name, value in dependencies.items()],
        },
        "runDetails": {"builder": {"id": builder}},
    }
    return seal(key, _subjects(files), PROVENANCE, predicate)


def read_origin(raw: bytes, key: ec.EllipticCurvePublicKey, name: str, files: Mapping[str, str]) -> dict[str, Any]:
    """The provenance of a model, if it is about these files.

    Raises:
        SignatureError: the signature does not hold, it is no provenance, or a file is not one of its subjects.
    """
    told = unseal(raw, key, name)
    if told["predicateType"] != PROVENANCE:
        raise SignatureError(f"{name} is a claim of another kind: {shown(told['predicateType'])}", remedy=_AGAIN)
    known = {str(each.get("name")): each.get("digest") for each in told["subject"]}
    for file, value in files.items():
        if known.get(file) != _hex(value):
            raise SignatureError(f"{name} is not about {shown(file)} as it is", remedy=_AGAIN)
    predicate: dict[str, Any] = told["predicate"]
    return predicate


def model_file(source: ModelSource) -> str | None:
    """The name of the one file that a policy's model comes from; None for code and served models."""
    scheme, _, rest = source.source.partition(":")
    return source.weights if scheme == "torch" else rest if scheme in ("onnx", "sklearn") else None


_AGAIN = (
    "assess this very model by this policy, and attest it: redoubt assess POLICY && redoubt attest POLICY --key KEY"
)


def _subjects(files: Mapping[str, str]) -> list[Json]:
    return [{"name": name, "digest": _hex(value)} for name, value in sorted(files.items())]


def _hex(value: str) -> dict[str, str]:
    return {"sha256": value.removeprefix("sha256:")}
