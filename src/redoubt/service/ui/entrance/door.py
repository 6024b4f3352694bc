"""Who may see a page, and who may change something: every route of the dashboard but three goes through here."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from redoubt.records import LedgerError, PolicyError, RedoubtError
from redoubt.service.protocol import BadRequest
from redoubt.service.stores.base import Store
from redoubt.service.ui.entrance.sessions import LASTS, Sessions
from redoubt.service.ui.look import HEADERS, Look
from redoubt.service.web.body import read_body, read_heads

_log = structlog.get_logger("redoubt.ui")
_MOST_FORM = 8192
_MOST_FIELDS = 16
_PATIENCE = 10.0
_NEXT = re.compile(r"/ui(?:/[A-Za-z0-9/]{0,64})?(?:\?[A-Za-z0-9=&%._+-]{0,512})?")

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Viewer:
    """Somebody who is signed in.

    Attributes:
        account: the id of their key.
        admin: whether they may change something.
        token: for the forms of their pages.
    """

    account: str
    admin: bool
    token: str


@dataclass(frozen=True)
class Asked:
    """A request of somebody who is signed in.

    Attributes:
        viewer: who.
        path: parameters in the path.
        query: parameters after it; of several with one name the last.
        form: fields of the form that was sent; empty for pages.
    """

    viewer: Viewer
    path: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]


Handler = Callable[[Asked], Response]
"""Makes an answer.  Called in a thread of its own, since it reads the log and the store.

Raises:
    PolicyError: there is no such thing (404); or, of a form, it cannot be done (400).
    LedgerError: the log is not what was signed (500).
    RedoubtError: anything else (503).
"""


class Door:
    """Lets signed-in auditors in to look, and admins to act.

    A session is believed as long as its key is in the store, is not revoked, and has the scope: all of it is asked
    anew for every request.

    Args:
        store: where keys are kept.
        sessions: who is signed in.
        look: makes the pages that say no.
    """

    def __init__(self, store: Store, sessions: Sessions, look: Look) -> None:
        self._store, self._sessions, self._look = store, sessions, look

    def shows(self, handler: Handler, *, part: bool = False) -> Endpoint:
        """A page for auditors and admins.  Who is not signed in is sent to sign in; for a `part` of a page, told so."""

        async def endpoint(request: Request) -> Response:
            return await asyncio.to_thread(self._show, request, handler, part)

        return endpoint

    def does(self, handler: Handler, *, admin: bool = True) -> Endpoint:
        """An act, by a form that carries the session's token; for admins, or else for auditors too."""

        async def endpoint(request: Request) -> Response:
            viewer = await asyncio.to_thread(self._viewer_or_none, request)
            if isinstance(viewer, Response):
                return viewer
            try:
                form = await read_form(request)
            except BadRequest as error:
                return self._failed(error, viewer)
            return await asyncio.to_thread(self._do, request, viewer, form, handler, admin)

        return endpoint

    def _show(self, request: Request, handler: Handler, part: bool) -> Response:
        viewer = self._viewer_or_none(request)
        if isinstance(viewer, Response):
            return Response("", 401, HEADERS) if part and viewer.status_code == 303 else viewer
        try:
            return handler(Asked(viewer, request.path_params, dict(request.query_params), {}))
        except RedoubtError as error:
            return self._failed(error, viewer)

    def _do(self, request: Request, viewer: Viewer, form: Mapping[str, str], handler: Handler, admin: bool) -> Response:
        if not self._sessions.fits(_cookie(request), form.get("token", "")):
            return self._failed(BadRequest(403, "this form is of another session", remedy="open its page anew"), viewer)
        if admin and not viewer.admin:
            return self._failed(BadRequest(403, "only an admin may do this", remedy="sign in with such a key"), viewer)
        try:
            return handler(Asked(viewer, request.path_params, {}, form))
        except PolicyError as error:
            return self._failed(BadRequest(400, error.what, remedy=error.remedy), viewer)
        except RedoubtError as error:
            return self._failed(error, viewer)

    def _viewer_or_none(self, request: Request) -> Viewer | Response:
        """Who asks; or the answer to somebody who may not."""
        try:
            viewer = self._viewer(_cookie(request))
        except RedoubtError as error:
            return self._failed(error, None)
        if viewer is not None:
            return viewer
        query = request.scope["query_string"].decode("latin-1")
        wanted = request.scope["path"] + (f"?{query}" if query else "")
        follow = f"?next={quote(wanted, safe='')}" if request.method == "GET" and is_local(wanted) else ""
        return RedirectResponse(f"/ui/login{follow}", 303, HEADERS)

    def _viewer(self, identity: str) -> Viewer | None:
        session = self._sessions.find(identity)
        if session is None:
            return None
        key = self._store.key(session.account)
        if key is None or key.revoked_at is not None or key.scopes.isdisjoint({"auditor", "admin"}):
            self._sessions.close(identity)
            return None
        return Viewer(key.id, "admin" in key.scopes, self._sessions.token(identity))

    def _failed(self, error: RedoubtError, viewer: Viewer | None) -> Response:
        if isinstance(error, BadRequest):
            status = error.status
        else:
            status = 404 if isinstance(error, PolicyError) else 500 if isinstance(error, LedgerError) else 503
            if status >= 500:
                _log.error("a page could not be shown", error=str(error))
        return self._look.page("failed", {"viewer": viewer, "here": "", "error": error, "status": status}, status)


# ── forms and cookies ────────────────────────────────────────────────────────────────────────────────────────────


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form; of several with one name the last.

    Raises:
        BadRequest: it is no form, or greater than forms of the dashboard are.
    """
    heads = read_heads(request.scope)
    if heads.content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise BadRequest(415, "this is no form")
    body = await read_body(request.receive, heads.length, _MOST_FORM, _PATIENCE)
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise BadRequest(400, "this is no form") from None


def is_local(address: str) -> bool:
    """Whether that is a page of the dashboard, where somebody may be sent after signing in."""
    return _NEXT.fullmatch(address) is not None and "//" not in address


def is_tls(request: Request) -> bool:
    """Whether nobody on the way reads along."""
    return bool(request.scope["scheme"] == "https")


def cookie_name(request: Request) -> str:
    """Under TLS a name that no other host, and nobody without TLS, can set."""
    return "__Host-redoubt" if is_tls(request) else "redoubt"


def _cookie(request: Request) -> str:
    return request.cookies.get(cookie_name(request), "")


def give_cookie(request: Request, answer: Response, identity: str) -> None:
    """Let the browser keep the session's id; empty makes it forget."""
    answer.set_cookie(
        cookie_name(request),
        identity,
        max_age=int(LASTS) if identity else 0,
        path="/",
        secure=is_tls(request),
        httponly=True,
        samesite="strict",
    )
