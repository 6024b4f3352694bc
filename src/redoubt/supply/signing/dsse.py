"""Dead Simple Signing Envelopes: what is signed is the payload and its type together, byte by byte.

Source: github.com/secure-systems-lab/dsse, protocol.md and envelope.md, version 1.0.2.  Keys are ECDSA over P-256,
P-384 or P-521 with SHA-256, -384 or -512, as OpenSSF model signing takes them.
"""

import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.records import PolicyError, SignatureError

IN_TOTO = "application/vnd.in-toto+json"
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding, which is what is signed.

    >>> pae("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(key: ec.EllipticCurvePrivateKey, payload: bytes, payload_type: str = IN_TOTO) -> bytes:
    """The signature (DER) over a payload and its type."""
    return key.sign(pae(payload_type, payload), ec.ECDSA(_HASHES[key.curve.name]))


def verify(key: ec.EllipticCurvePublicKey, signature: bytes, payload: bytes, payload_type: str = IN_TOTO) -> None:
    """Check a signature.

    Raises:
        SignatureError: it was not made over this payload and type with the private half of this key.
    """
    try:
        key.verify(signature, pae(payload_type, payload), ec.ECDSA(_HASHES[key.curve.name]))
    except InvalidSignature:
        raise SignatureError(
            "the signature was not made with this key, or what it was made over was changed",
            remedy="load nothing of it; ask for the signer's public key on another way, and for the files again",
        ) from None


def read_public_key(pem: bytes, name: str) -> ec.EllipticCurvePublicKey:
    """A public key from PEM.

    Raises:
        PolicyError: it is no ECDSA key over P-256, P-384 or P-521, or a private one.
    """
    if b"PRIVATE" in pem:
        raise PolicyError(
            f"{name} is a private key", remedy="give its public half, and keep the private one to yourself"
        )
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise PolicyError(
            f"{name} is no public key (PEM) over P-256, P-384 or P-521", remedy="make one: redoubt sign --new-key"
        )
    return key


def read_private_key(pem: bytes, name: str, password: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    """A private key from PEM.

    Raises:
        PolicyError: it is no ECDSA key over P-256, P-384 or P-521, or the password is wrong or missing.
    """
    try:
        key = serialization.load_pem_private_key(pem, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PolicyError(
            f"{name} cannot be read as a private key (PEM)", remedy="check the file, and REDOUBT_KEY_PASSWORD"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
        raise PolicyError(f"{name} is no key over P-256, P-384 or P-521", remedy="make one: redoubt sign --new-key")
    return key


def hint_of(key: ec.EllipticCurvePublicKey) -> str:
    """What names a key in a bundle: SHA-256 of its PEM, in hex, as OpenSSF model signing has it."""
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()
