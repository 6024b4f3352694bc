"""`redoubt guard`: a guard behind a socket, until somebody ends it."""

import gc
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

import structlog
import torch
from starlette.applications import Starlette

from redoubt.service.guard import Guard
from redoubt.service.logs import configure_logs
from redoubt.service.metrics import Metrics
from redoubt.service.tracing import open_tracing
from redoubt.service.ui import dashboard_routes
from redoubt.service.web import Doorstep, Tls, create_app, listen, server

_log = structlog.get_logger("redoubt.guard")
PATIENCE = 0.004
"""Seconds that a batch waits for company, under load only."""

_TURN = 2e-4  # seconds; the chain lets go of the interpreter dozens of times a batch, and must get it back soon


def serve_guard(
    policy: Path,
    host: str,
    port: int,
    tls: Tls | None = None,
    *,
    threads: int = 1,
    patience: float = PATIENCE,
    log_level: str = "info",
) -> None:
    """Serve until SIGTERM or SIGINT; whatever was accepted by then is answered, and recorded, first.

    Args:
        policy: the policy file.
        host: address to listen at.
        port: 0 takes a free one.
        tls: certificates, or None for plain HTTP.
        threads: that compute; OMP_NUM_THREADS and its like should say the same, or other threads than the caller's do
            not keep to it.
        patience: seconds that a batch waits for company: see `Batcher`.
        log_level: least level of what is logged.

    Raises:
        RedoubtError: something cannot be opened.
    """
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, _end)
    configure_logs(log_level)
    torch.set_num_threads(threads)
    sys.setswitchinterval(_TURN)
    listening = listen(host, port)
    metrics = Metrics()
    opened: list[Guard] = []

    def open_up() -> Starlette:
        guard = Guard.open(policy, watch=metrics)
        opened.append(guard)
        guard.warm()
        guard.follow()
        gc.freeze()  # what is there now stays, and need not be looked through again and again
        _log.info(
            "serving",
            model=guard.name,
            at=listening.getsockname()[:2],
            tls=tls is not None,
            policy=guard.chain.book.digest,
        )
        return create_app(
            guard, metrics=metrics, patience=patience, tracing=open_tracing(), extra=dashboard_routes(guard, policy)
        )

    if tls is None and host not in ("127.0.0.1", "::1", "localhost"):
        _log.warning("keys cross the network in the clear", remedy="give --tls-cert and --tls-key")

    def give_up() -> None:
        running.should_exit = True

    doorstep = Doorstep(open_up, give_up)
    running = server(doorstep, host, port, tls)
    try:
        running.run([listening])
    finally:
        if doorstep.opening:
            os._exit(0)  # an opening under way may be broken off at any moment, and nothing waits for it
        for guard in opened:
            guard.close()
    if doorstep.error is not None:
        raise doorstep.error


def _end(*_: object) -> NoReturn:
    """Unwind.  uvicorn raises the signal that ended it once more, and by default the log would be left open then."""
    raise SystemExit(0)
