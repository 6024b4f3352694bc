"""Who is signed in at the dashboard: a small table in memory that forgets soon."""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

LASTS = 3600.0
"""Seconds after which everybody signs in again, whatever they did meanwhile."""

_MOST = 256
_MOST_OF_ONE = 8


@dataclass(frozen=True)
class Session:
    """Somebody who showed an API key.

    Attributes:
        account: the key's id.  What the key may do is asked of the store, every time.
        until: by the table's clock.
    """

    account: str
    until: float


class Sessions:
    """Sessions by the digest of their id: who reads this memory cannot take one over.  May be used from any thread.

    The table is this process's own, and ends with it.  It holds 256 sessions at most, and eight of one account; the
    oldest gives way.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._open: dict[bytes, Session] = {}  # oldest first

    def open(self, account: str) -> str:
        """Begin a session; its id, 256 random bits."""
        identity = secrets.token_urlsafe(32)
        now = self._clock()
        with self._lock:
            self._open = {key: session for key, session in self._open.items() if session.until > now}
            own = [key for key, session in self._open.items() if session.account == account]
            for key in own[: max(0, len(own) - _MOST_OF_ONE + 1)]:
                del self._open[key]
            while len(self._open) >= _MOST:
                del self._open[next(iter(self._open))]
            self._open[_key(identity)] = Session(account, now + LASTS)
        return identity

    def find(self, identity: str) -> Session | None:
        """The session of that id, unless it has ended."""
        with self._lock:
            session = self._open.get(_key(identity))
        return session if session and session.until > self._clock() else None

    def close(self, identity: str) -> None:
        """End a session, if there is one."""
        with self._lock:
            self._open.pop(_key(identity), None)

    def token(self, identity: str) -> str:
        """What every form carries that is sent under this id: another site's page cannot know it."""
        return hmac.new(self._secret, identity.encode(), hashlib.sha256).hexdigest()

    def fits(self, identity: str, token: str) -> bool:
        """Whether a form carried that, compared in constant time."""
        return hmac.compare_digest(self.token(identity).encode(), token.encode())


def _key(identity: str) -> bytes:
    return hashlib.sha256(identity.encode()).digest()
