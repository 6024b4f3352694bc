"""What every answer goes through: an id, security headers, a count, a line in the log; and no stack trace."""

import random

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from redoubt.service.logs import REQUEST
from redoubt.service.metrics import Metrics
from redoubt.service.protocol import error_body

_log = structlog.get_logger("redoubt.web")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
_ONLY_TLS = (b"strict-transport-security", b"max-age=31536000")
_IDS = random.Random()  # noqa: S311  names lines of a log, and is no secret
_FAULT = error_body("a fault of the guard; it is in its log")


class Shell:
    """Pure ASGI middleware.  Headers that a route set itself are left alone.

    There are no CORS headers: a page of another site may send nothing that needs one, and reads no answer.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identity = f"{_IDS.getrandbits(64):016x}"
        wanted = [*_HEADERS, (b"x-request-id", identity.encode())]
        if scope["scheme"] == "https":
            wanted.append(_ONLY_TLS)
        status = 0

        async def dress(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in wanted if pair[0] not in given)]
            await send(message)

        named = REQUEST.set(identity)
        try:
            await self._app(scope, receive, dress)
        except Exception:  # the wall: whatever breaks in a route, the caller is told that something did, not what
            _log.exception("a route broke", method=scope["method"], path=scope["path"][:200])
            if status == 0:
                await _fault(dress)
        if status:  # else the caller hung up before there was an answer
            self._metrics.responded(status)
        # Refusals stand in the audit log and in the metrics; here they would let strangers fill the disk, and so would
        # 503, which a full queue answers to everybody.  Why a store or a model is gone, the chain says.
        if status >= 500 and status != 503:
            _log.warning("failed", method=scope["method"], path=scope["path"][:200], status=status)
        REQUEST.reset(named)


async def _fault(send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_FAULT)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": _FAULT})
