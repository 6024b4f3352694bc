"""From the Authorization header to a caller."""

import hashlib
import hmac
import os
from dataclasses import dataclass
from pathlib import Path

from redoubt.records.guard import Tokens
from redoubt.service.identify.base import Caller, Unidentified
from redoubt.service.identify.keys import PREFIX, hash_secret, identity_of, parse_key
from redoubt.service.identify.tokens import MOST, TokenChecker
from redoubt.service.stores.base import Store, StoredKey

REMEMBERED = 2.0  # seconds after which a key is looked up again, so also those until a revocation takes effect
_MOST_REMEMBERED = 4096
_SCHEME = "bearer"
_NOBODYS = os.urandom(32)  # compared with when there is no such key, so that it takes as long


@dataclass
class _Known:
    """A key that was looked up.

    Attributes:
        since: when.
        stored: as it was then, or None.
        text: SHA-256 of the whole key, as it was sent when its secret was last found right; empty before.
    """

    since: float
    stored: StoredKey | None
    text: bytes = b""

    def holds(self, now: float) -> bool:
        """Whether it need not be looked up again; a clock set back forgets."""
        return self.since <= now < self.since + REMEMBERED


class Identifier:
    """Says who asks.

    A key that was looked up is remembered for 2 s, which is how long a revoked one may still be served.  May be called
    from any thread.
    """

    def __init__(self, store: Store, tokens: Tokens | None = None, base: Path = Path()) -> None:
        """Read the provider's key, if tokens are accepted.

        Args:
            store: where API keys are kept.
            tokens: whose tokens are accepted beside them.
            base: the folder that relative files start in.

        Raises:
            PolicyError: the key file cannot be read, or is no fit public key.
        """
        self._store = store
        self._tokens = TokenChecker.of(tokens, base) if tokens else None
        self._remembered: dict[str, _Known] = {}

    def identify(self, credential: str | None, now: float) -> Caller:
        """Who asks.

        Args:
            credential: value of the Authorization header: `Bearer`, and an API key or a token.
            now: seconds since 1970-01-01 UTC.

        Raises:
            Unidentified: it is not known; the message does not say why.
            StorageError: the store cannot say.
        """
        text = _bearer(credential)
        if text.startswith(PREFIX):
            return self._owner(text, now)
        if self._tokens is None:
            raise Unidentified("malformed")
        return self._tokens.check(text, now)

    def _owner(self, text: str, now: float) -> Caller:
        hashed = hashlib.sha256(text.encode()).digest()
        known = self._remembered.get(identity_of(text) or "")
        if known is None or not known.holds(now) or not hmac.compare_digest(hashed, known.text):
            known = self._check(text, hashed, now)
        stored = known.stored
        if stored is None:
            raise Unidentified("unknown")
        if stored.revoked_at is not None:  # whatever the clock says
            raise Unidentified("revoked")
        return Caller(stored.id, stored.tier, stored.scopes)

    def _check(self, text: str, hashed: bytes, now: float) -> _Known:
        """Whether the secret is the right one, of a key that is not the very one that was right a moment ago."""
        parsed = parse_key(text)
        if parsed is None:
            raise Unidentified("malformed")
        identity, secret = parsed
        known = self._look_up(identity, now)
        expected = _NOBODYS if known.stored is None else known.stored.secret
        if not hmac.compare_digest(hash_secret(secret), expected) or known.stored is None:
            raise Unidentified("unknown")
        known.text = hashed
        return known

    def _look_up(self, identity: str, now: float) -> _Known:
        known = self._remembered.get(identity)
        if known is None or not known.holds(now):
            stored = self._store.key(identity)
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            known = self._remembered[identity] = _Known(now, stored)
        return known


def _bearer(credential: str | None) -> str:
    if credential is None:
        raise Unidentified("missing")
    if len(credential) > MOST + len(_SCHEME) + 1 or not credential.isascii():
        raise Unidentified("malformed")
    scheme, _, text = credential.partition(" ")
    if scheme.lower() != _SCHEME:  # RFC 7235: the scheme's case does not matter
        raise Unidentified("malformed")
    return text.strip(" ")
