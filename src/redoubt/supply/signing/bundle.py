"""Sigstore bundles that hold one in-toto statement, signed by a key: what model signatures and attestations come in.

Source: github.com/sigstore/protobuf-specs, protos/sigstore_bundle.proto, version 0.3; github.com/in-toto/attestation,
spec/v1.  Bundles of the public Sigstore service, with a certificate and a log entry, are not read: they need the
network or its trust root.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.records import SignatureError
from redoubt.records.canonical import Json, canonical_json
from redoubt.supply.flaw import Damaged, shown
from redoubt.supply.signing.dsse import IN_TOTO, hint_of, sign, verify
from redoubt.supply.tensors.safetensors import json_once

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT = "https://in-toto.io/Statement/v1"
MOST_BUNDLE = 64 * 2**20  # bytes


def seal(
    key: ec.EllipticCurvePrivateKey, subjects: list[Json], predicate_type: str, predicate: Mapping[str, Json]
) -> bytes:
    """A statement about subjects, signed, as the text of a bundle.

    Args:
        key: of the signer.
        subjects: `{"name": …, "digest": {"sha256": <hex>}}` each.
        predicate_type: a URI that says what kind of claim it is.
        predicate: the claim.
    """
    payload = canonical_json(
        {"_type": STATEMENT, "subject": subjects, "predicateType": predicate_type, "predicate": dict(predicate)}
    )
    bundle = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint_of(key.public_key())}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": IN_TOTO,
            "signatures": [{"sig": base64.b64encode(sign(key, payload)).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle, indent=1).encode() + b"\n"


def unseal(raw: bytes, key: ec.EllipticCurvePublicKey, name: str) -> dict[str, Any]:
    """The statement in a bundle, once its signature was found to be of this key.

    Returns:
        A mapping with `subject`, a list of mappings, `predicateType` and `predicate`, a mapping.

    Raises:
        SignatureError: no such bundle, another key, or a signature that does not hold.  Nothing of the payload is
            looked at before the signature holds.
    """
    try:
        return _statement(_checked_payload(raw, key))
    except Damaged as damaged:
        flaw = damaged.flaw
        raise SignatureError(
            f"{name}: {' '.join(filter(None, (flaw.place, flaw.what)))}",
            remedy="give a bundle of 'redoubt sign', 'redoubt attest' or 'model_signing sign key'",
        ) from None
    except SignatureError as error:
        raise SignatureError(f"{name}: {error.what}", remedy=error.remedy) from None


def _checked_payload(raw: bytes, key: ec.EllipticCurvePublicKey) -> bytes:
    if len(raw) > MOST_BUNDLE:
        raise Damaged("the bundle", f"has more than {MOST_BUNDLE} bytes")
    bundle = json_once(raw, "the bundle")
    if not isinstance(bundle, dict) or bundle.get("mediaType") != MEDIA_TYPE:
        raise Damaged("the bundle", f"is none of the type {MEDIA_TYPE}")
    material, envelope = bundle.get("verificationMaterial"), bundle.get("dsseEnvelope")
    if not isinstance(material, dict) or not isinstance(envelope, dict):
        raise Damaged("the bundle", "has no verification material and envelope")
    named = material.get("publicKey")
    if not isinstance(named, dict):
        raise Damaged("the bundle", "was not signed by a key, but by a certificate, which is not read here")
    hint = named.get("hint")
    if hint is not None and hint != hint_of(key):
        raise Damaged("the bundle", "was signed with another key than the one that is trusted")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
        raise Damaged("the bundle", "has not exactly one signature")
    if envelope.get("payloadType") != IN_TOTO:
        raise Damaged("the bundle", f"holds a {shown(envelope.get('payloadType'))}, not an in-toto statement")
    payload = _decoded(envelope.get("payload"))
    verify(key, _decoded(signatures[0].get("sig")), payload)
    return payload


def _decoded(text: object) -> bytes:
    if not isinstance(text, str):
        raise Damaged("the bundle", "has no payload and signature")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Damaged("the bundle", "has a payload or signature that is no base64") from None


def _statement(payload: bytes) -> dict[str, Any]:
    told = json_once(payload, "the statement")
    if not isinstance(told, dict) or told.get("_type") != STATEMENT:
        raise Damaged("the statement", f"is none of the type {STATEMENT}")
    subjects = told.get("subject")
    sound = isinstance(subjects, list) and bool(subjects) and all(isinstance(each, dict) for each in subjects)
    if not sound or not isinstance(told.get("predicateType"), str) or not isinstance(told.get("predicate"), dict):
        raise Damaged("the statement", "has no subjects, type and predicate")
    return told
