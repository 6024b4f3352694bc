"""The web application: routes, and what every answer goes through.

POST /v2/models/{m}[/versions/{v}]/infer      the chain
POST /v2/models/{m}[/versions/{v}]/classify   the chain, a PNG or JPEG as the body
GET  /v2  /v2/health/live  /v2/health/ready
GET  /v2/models/{m}[/versions/{v}][/ready]
GET  /metrics                                 auditors, unless open
GET  /log/checkpoint  /log/tile/…             auditors
GET  /openapi.json
"""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from redoubt import __version__
from redoubt.service.batching import Batcher
from redoubt.service.metrics import Metrics
from redoubt.service.protocol import BadRequest
from redoubt.service.tracing import NoTracing, Tracing
from redoubt.service.web.body import Room
from redoubt.service.web.guarded import Guarded
from redoubt.service.web.infer import Ask
from redoubt.service.web.openapi import document
from redoubt.service.web.pages import Pages, error_response
from redoubt.service.web.shell import Shell


def create_app(
    guarded: Guarded,
    *,
    metrics: Metrics | None = None,
    tracing: Tracing | None = None,
    clock: Callable[[], float] = time.time,
    most: int = 64,
    patience: float = 0.0,
    waiting: int = 1024,
    open_metrics: bool = False,
    extra: Sequence[BaseRoute] = (),
) -> Starlette:
    """The application.  While it runs it owns one thread, which is the only one that calls `guarded.run`.

    Args:
        guarded: what it serves.
        metrics: where it counts; share it with the chain.
        tracing: `open_tracing()`, or nothing.
        clock: seconds since 1970-01-01 UTC.
        most: requests in a batch.
        patience: seconds that a batch may wait for company: see `Batcher`.
        waiting: requests that may wait; the next one is answered 503.
        open_metrics: whether `/metrics` needs no auditor's key.
        extra: further routes, such as the dashboard's.  None of them may reach the model.
    """
    counted, traced = metrics or Metrics(), tracing or NoTracing()
    server = {"name": "redoubt", "version": __version__, "extensions": ["binary_tensor_data"]}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.batcher = Batcher(guarded.run, most, patience, waiting=waiting, watch=counted.batched)
        try:
            yield
        finally:
            await app.state.batcher.close()
            traced.close()

    def batcher() -> Batcher:
        running: Batcher = app.state.batcher
        return running

    async def openapi(_request: Request) -> Response:
        return JSONResponse(document(guarded.metadata(), __version__))

    room = Room()
    ask = Ask(guarded, batcher, counted, traced, clock, room)
    classify = Ask(guarded, batcher, counted, traced, clock, room, pictures=True)
    routes = [
        Route("/v2/models/{model}/infer", ask, methods=["POST"]),
        Route("/v2/models/{model}/versions/{version}/infer", ask, methods=["POST"]),
        Route("/v2/models/{model}/classify", classify, methods=["POST"]),
        Route("/v2/models/{model}/versions/{version}/classify", classify, methods=["POST"]),
        *Pages(guarded, batcher, counted, dict(server), open_metrics).routes(),
        Route("/openapi.json", openapi),
        *extra,
    ]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={HTTPException: _http_error, BadRequest: _bad_request},
    )
    app.router.redirect_slashes = False
    app.add_middleware(Shell, metrics=counted)
    return app


async def _http_error(_request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: unknown routes and methods."""
    if not isinstance(error, HTTPException):
        raise error
    known = {404: "there is no such route", 405: "this route takes another method"}
    return error_response(
        error.status_code, known.get(error.status_code, "this cannot be done"), dict(error.headers or {})
    )


async def _bad_request(_request: Request, error: Exception) -> Response:
    if not isinstance(error, BadRequest):
        raise error
    headers = {"www-authenticate": "Bearer"} if error.status == 401 else {}
    return error_response(error.status, error.message, headers)
