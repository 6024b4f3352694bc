"""Until the guard is open: the process is alive, not ready, and answers nothing else."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from redoubt.service.metrics import Metrics
from redoubt.service.web.pages import error_response
from redoubt.service.web.shell import Shell

_OPENING = "the guard is starting: models are loaded, and what detectors need is learnt"
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Doorstep:
    """The ASGI application that stands before a guard's own while that is being opened in a thread.

    To learn what deep k-NN needs can take minutes, and whoever supervises the process wants to know meanwhile that it
    lives (`/v2/health/live`) and whether it can answer (`/v2/health/ready`: 503).  Every other route is 503 as well.

    A shutdown waits for what the guard has accepted, but not for an opening: that can be broken off at any moment.

    Args:
        open_up: opens the guard and gives its application; called once, in a thread of its own.
        failed: called in the event loop if that raised.

    Attributes:
        error: what `open_up` raised, or None.
        opening: whether it is still under way.
    """

    def __init__(self, open_up: Callable[[], Starlette], failed: Callable[[], None]) -> None:
        self._open_up, self._failed = open_up, failed
        self._app: ASGIApp = _closed()
        self._life: AbstractAsyncContextManager[object] | None = None
        self.error: BaseException | None = None
        self.opening = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live from startup to shutdown."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()  # startup
        self._begin()
        await send({"type": "lifespan.startup.complete"})
        await receive()  # shutdown
        if self._life is not None:
            await self._life.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self.opening = True

        def work() -> None:
            app: Starlette | None = None
            try:
                app = self._open_up()
            except BaseException as error:  # raised again by whoever started the server
                self.error = error
            self.opening = False
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._step_in, app)

        threading.Thread(target=work, name="opening", daemon=True).start()

    def _step_in(self, app: Starlette | None) -> None:
        if app is None:
            self._failed()
        else:
            self._stepping = asyncio.ensure_future(self._live(app))

    async def _live(self, app: Starlette) -> None:
        life = app.router.lifespan_context(app)
        await life.__aenter__()
        self._life, self._app = life, app


def _closed() -> Starlette:
    async def live(_request: Request) -> Response:
        return Response(b'{"live":true}', media_type="application/json")

    async def not_yet(_request: Request) -> Response:
        return error_response(503, _OPENING, {"retry-after": "1"})

    app = Starlette(
        routes=[Route("/v2/health/live", live), Route("/{path:path}", not_yet, methods=_METHODS)],
    )
    app.add_middleware(Shell, metrics=Metrics())
    return app
