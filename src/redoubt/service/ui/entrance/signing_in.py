"""Signing in with an auditor's or an admin's API key, and out again."""

import asyncio
import secrets
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from redoubt.records import RedoubtError
from redoubt.service.identify.keys import parse_key
from redoubt.service.protocol import BadRequest
from redoubt.service.ui.entrance.door import cookie_name, give_cookie, is_local, is_tls, read_form
from redoubt.service.ui.entrance.sessions import LASTS, Sessions
from redoubt.service.ui.look import HEADERS, Look

_VISITOR = "redoubt-visitor"
_FORM_LASTS = 3600
_THIS_MACHINE = ("127.0.0.1", "::1")
_NO_KEY = "This is not a key that may see the dashboard: an auditor's or an admin's API key, not revoked."


class SigningIn:
    """The routes that need no session.

    The key is read from the form, checked as step 1 checks it, in constant time, and forgotten.  Tokens of an identity
    provider are not taken: they cannot be revoked here.

    Args:
        authorise: returns if that credential is an auditor's or an admin's; raises `BadRequest`.
        sessions: where those who did are kept.
        look: makes the page.
    """

    def __init__(self, authorise: Callable[[str], None], sessions: Sessions, look: Look) -> None:
        self._authorise, self._sessions, self._look = authorise, sessions, look

    async def form(self, request: Request) -> Response:
        """GET: the form."""
        return self._form(request, "", 200)

    async def enter(self, request: Request) -> Response:
        """POST: the key, and into the dashboard with it."""
        visitor = request.cookies.get(_VISITOR, "")
        try:
            form = await read_form(request)
        except BadRequest as error:
            return self._form(request, error.message, error.status)
        if not visitor or not self._sessions.fits(visitor, form.get("token", "")):
            return self._form(request, "This form is too old, or of another window. Try again.", 403)
        try:
            account = await asyncio.to_thread(self._account, form.get("key", "").strip())
        except RedoubtError as error:
            return self._form(request, error.what, 503)
        if account is None:
            return self._form(request, _NO_KEY, 403)
        self._sessions.close(request.cookies.get(cookie_name(request), ""))
        wanted = form.get("next", "")
        answer = RedirectResponse(wanted if is_local(wanted) else "/ui", 303, HEADERS)
        give_cookie(request, answer, self._sessions.open(account))
        return answer

    async def leave(self, request: Request) -> Response:
        """POST: the session ends."""
        identity = request.cookies.get(cookie_name(request), "")
        try:
            form = await read_form(request)
        except BadRequest as error:
            return self._form(request, error.message, error.status)
        if not self._sessions.fits(identity, form.get("token", "")):
            return self._form(request, "This form is of another session.", 403)
        self._sessions.close(identity)
        answer = RedirectResponse("/ui/login", 303, HEADERS)
        give_cookie(request, answer, "")
        return answer

    def _account(self, key: str) -> str | None:
        """Whose key it is, if they may come in."""
        parsed = parse_key(key)
        if parsed is None:
            return None
        try:
            self._authorise(f"Bearer {key}")
        except BadRequest:
            return None
        return parsed[0]

    def _form(self, request: Request, wrong: str, status: int) -> Response:
        wanted = request.query_params.get("next", "")
        visitor = request.cookies.get(_VISITOR, "") or secrets.token_urlsafe(32)
        page = self._look.page(
            "login",
            {
                "viewer": None,
                "here": "",
                "wrong": wrong,
                "token": self._sessions.token(visitor),
                "next": wanted if is_local(wanted) else "",
                "lasts": LASTS,
                "clear": not is_tls(request)
                and request.client is not None
                and request.client.host not in _THIS_MACHINE,
            },
            status,
        )
        page.set_cookie(
            _VISITOR,
            visitor,
            max_age=_FORM_LASTS,
            path="/ui/login",
            secure=is_tls(request),
            httponly=True,
            samesite="strict",
        )
        return page
