"""The dashboard's routes, and what stands on each page.

GET  /ui                              the latest decisions, and why
GET  /ui/recent                       the part of that page that changes
GET  /ui/decision/{index}             one entry of the log, and its proof
GET  /ui/decision/{index}/proof       the proof as a file (C2SP tlog-proof)
GET  /ui/accounts                     budgets, strikes, locks; keys
GET  /ui/versions                     the policy's versions
GET  /ui/log                          how the log is
POST /ui/log/verify                   verify all of it                        auditors
POST /ui/accounts/unlock              no lock, no strikes                     admins
POST /ui/keys/revoke                  a key is of no use any more             admins
POST /ui/versions/rollback            put an earlier version in force         admins
GET  /ui/login  POST /ui/login        sign in                                 everybody
POST /ui/logout                       sign out
GET  /ui/static/…                     style and script                        everybody
"""

import time
from collections.abc import Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from redoubt.service.guard import Guard
from redoubt.service.ui.entrance.door import Door
from redoubt.service.ui.entrance.sessions import Sessions
from redoubt.service.ui.entrance.signing_in import SigningIn
from redoubt.service.ui.look import HEADERS, Look
from redoubt.service.ui.pages.accounts import AccountPages
from redoubt.service.ui.pages.decisions import DecisionPages
from redoubt.service.ui.pages.desk import Desk
from redoubt.service.ui.pages.log import LogPages
from redoubt.service.ui.pages.versions import VersionPages


def dashboard_routes(
    guard: Guard,
    policy: Path,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> list[BaseRoute]:
    """The routes of `/ui`, for `create_app(extra=…)`.

    Args:
        guard: what is looked at.
        policy: its policy file.
        clock: seconds since 1970-01-01 UTC.
        monotonic: seconds that only grow, for the sessions.
    """
    look, sessions = Look(guard.name), Sessions(monotonic)
    door = Door(guard.store, sessions, look)
    into = SigningIn(lambda credential: guard.authorise(credential, "auditor"), sessions, look)
    desk = Desk(guard, look, clock)
    decisions, accounts, versions, log = (
        DecisionPages(desk, policy),
        AccountPages(desk),
        VersionPages(desk),
        LogPages(desk),
    )

    async def static(request: Request) -> Response:
        return look.static(request.path_params["name"]) or Response("", 404, HEADERS)

    return [
        Route("/ui", door.shows(decisions.latest)),
        Route("/ui/", door.shows(decisions.latest)),
        Route("/ui/recent", door.shows(decisions.recent, part=True)),
        Route("/ui/decision/{index}", door.shows(decisions.one)),
        Route("/ui/decision/{index}/proof", door.shows(decisions.proof)),
        Route("/ui/accounts", door.shows(accounts.all)),
        Route("/ui/versions", door.shows(versions.all)),
        Route("/ui/log", door.shows(log.health)),
        Route("/ui/log/verify", door.does(log.verify, admin=False), methods=["POST"]),
        Route("/ui/accounts/unlock", door.does(accounts.unlock), methods=["POST"]),
        Route("/ui/keys/revoke", door.does(accounts.revoke), methods=["POST"]),
        Route("/ui/versions/rollback", door.does(versions.rollback), methods=["POST"]),
        Route("/ui/login", into.form),
        Route("/ui/login", into.enter, methods=["POST"]),
        Route("/ui/logout", into.leave, methods=["POST"]),
        Route("/ui/static/{name}", static),
    ]
