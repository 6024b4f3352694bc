"""Structured logs: one JSON object a line on stderr, with the request's id, and no secrets."""

import contextlib
import logging
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any, TextIO

import orjson
import structlog

_SECRET = ("authorization", "credential", "key", "password", "secret", "token", "body")
_HIDDEN = "***"

REQUEST: ContextVar[str | None] = ContextVar("request", default=None)
"""The id of the request that is being answered; every line says it."""


def configure_logs(level: str = "info", stream: TextIO | None = None) -> None:
    """Set up structlog for the process: UTC times, level, and the request's id.

    Values whose name says that they are secret (`authorization`, `api_key`, `body`, …) are replaced by `***`: a second
    line of defence, since no call should name them at all.
    """
    structlog.configure(
        processors=[
            _name_request,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            hide_secrets,
            structlog.processors.JSONRenderer(serializer=_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: _Lines(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )


class _Lines(structlog.PrintLogger):
    """Loses a line that cannot be written: with a full disk under stderr, callers must still be told no."""

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def _name_request(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    request = REQUEST.get()
    if request is not None:
        event["request"] = request
    return event


def hide_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The processor that hides secret values.

    >>> hide_secrets(None, "", {"event": "asked", "api_key": "rk_1", "status": 200})
    {'event': 'asked', 'api_key': '***', 'status': 200}
    """
    for name in event:
        if name.lower().split("_")[-1] in _SECRET:
            event[name] = _HIDDEN
    return event


def _json(event: dict[str, Any], **_options: object) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
