"""The page of policy versions, and the way back to one."""

from pathlib import Path

from starlette.responses import Response

from redoubt.policy import parse_policy
from redoubt.service.ui.entrance.door import Asked
from redoubt.service.ui.pages.desk import Desk, back
from redoubt.service.ui.views.versions import choose, difference, tell_versions
from redoubt.service.versions import publish


class VersionPages:
    """Handlers; see `redoubt.service.ui.entrance.door.Handler`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def all(self, asked: Asked) -> Response:
        """The versions, and what one of them changed.

        Raises:
            PolicyError: there is no such version.
        """
        versions = self._desk.guard.store.versions()
        told = tell_versions(versions, self._desk.guard.chain.book.digest)
        current = next((each.version.number for each in told if each.enforced), 0)
        chosen = choose(versions, asked.query.get("number", "") or str(len(versions)))
        before = next((version for version in versions if version.number == chosen.number - 1), None)
        return self._desk.page(
            "versions",
            asked,
            "versions",
            told=told,
            current=current,
            pending=next((each.version.number for each in told if each.version.active and not each.enforced), 0),
            chosen=chosen,
            before=before,
            lines=difference(before, chosen),
        )

    def rollback(self, asked: Asked) -> Response:
        """Put an earlier version in force again; every guard on this store follows within seconds.

        Raises:
            PolicyError: there is no such version, or this release cannot read it.
        """
        chosen = choose(self._desk.guard.store.versions(), asked.form.get("number", ""))
        file = parse_policy(chosen.text.encode(), Path(f"version {chosen.number}"))
        publish(
            self._desk.guard.store, file, self._desk.clock(), f"rollback to {chosen.number} by {asked.viewer.account}"
        )
        return back("/ui/versions")
