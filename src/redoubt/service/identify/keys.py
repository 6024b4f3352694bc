"""API keys as text: `rdt_<id>_<secret><checksum>`, easy to find for a secret scanner and for nobody else.

A scanner looks for `rdt_[a-z2-7]{12}_[0-9A-Za-z]{49}`, and tells a key from a look-alike by the checksum (CRC-32 in
base 62 over all that stands before it), without asking a guard.
"""

import hashlib
import re
import secrets
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from redoubt.service.stores.base import Scope, StoredKey

PREFIX = "rdt_"

_SECRET_BYTES = 32
_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_ID_LENGTH = 12  # 60 bits: two keys of a million are the same once in two million stores
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_SECRET_DIGITS = 43  # 62**43 > 2**256
_CHECK_DIGITS = 6  # 62**6 > 2**32
_FORM = re.compile(rf"{PREFIX}([{_ID_LETTERS}]{{{_ID_LENGTH}}})_([0-9A-Za-z]{{{_SECRET_DIGITS}}})[0-9A-Za-z]{{6}}")


@dataclass(frozen=True)
class NewKey:
    """A key that was just made.

    Attributes:
        text: what its owner is given, once; it cannot be had again.
        stored: what the store keeps.
    """

    text: str = field(repr=False)
    stored: StoredKey


def make_key(tier: str, scopes: Iterable[Scope], note: str, now: float) -> NewKey:
    """A new key with 32 random bytes; nothing is stored yet."""
    identity = "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))
    secret = secrets.token_bytes(_SECRET_BYTES)
    head = f"{PREFIX}{identity}_{_encode(int.from_bytes(secret), _SECRET_DIGITS)}"
    return NewKey(
        head + _checksum(head), StoredKey(identity, hash_secret(secret), tier, frozenset(scopes), note, made_at=now)
    )


def parse_key(text: str) -> tuple[str, bytes] | None:
    """The id and the 32 secret bytes of a key; None if the text is no key, or is mistyped."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    head, check = text[:-_CHECK_DIGITS], text[-_CHECK_DIGITS:]
    value = _decode(match[2])
    if _checksum(head) != check or value >= 256**_SECRET_BYTES:
        return None
    return match[1], value.to_bytes(_SECRET_BYTES)


def identity_of(text: str) -> str | None:
    """The id that a text names which looks like a key; whether it is one, `parse_key` says."""
    match = _FORM.fullmatch(text)
    return None if match is None else match[1]


def hash_secret(secret: bytes) -> bytes:
    """What is kept of a secret.  It has 256 random bits, so a fast hash is as good as a slow one."""
    return hashlib.sha256(secret).digest()


def _checksum(head: str) -> str:
    return _encode(zlib.crc32(head.encode()), _CHECK_DIGITS)


def _encode(value: int, length: int) -> str:
    digits = []
    for _ in range(length):
        value, digit = divmod(value, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def _decode(digits: str) -> int:
    value = 0
    for digit in digits:
        value = value * len(_DIGITS) + _VALUES[digit]
    return value
