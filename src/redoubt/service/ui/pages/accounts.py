"""The page of accounts and keys, and what an admin does there."""

from starlette.responses import Response

from redoubt.monitor import unlock
from redoubt.records import LogEntry, PolicyError, Standing
from redoubt.service.ui.entrance.door import Asked
from redoubt.service.ui.pages.desk import Desk, back
from redoubt.service.ui.views.accounts import list_accounts

_MOST_NAME = 300


class AccountPages:
    """Handlers; see `redoubt.service.ui.entrance.door.Handler`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def all(self, asked: Asked) -> Response:
        """Budgets, strikes and locks; keys."""
        part = asked.query.get("find", "").strip()[:_MOST_NAME]
        now = self._desk.clock()
        stored = self._desk.guard.store.keys()
        found, more = list_accounts(self._desk.guard.store, self._desk.policy, part, now)
        keys = [key for key in stored if part.casefold() in f"{key.id} {key.note}".casefold()]
        return self._desk.page("accounts", asked, "accounts", accounts=found, more=more, keys=keys, part=part, now=now)

    def unlock(self, asked: Asked) -> Response:
        """No lock and no strikes for one account; recorded before it is done.

        Raises:
            PolicyError: nobody of that name has asked.
        """
        name, store, now = asked.form.get("account", "")[:_MOST_NAME], self._desk.guard.store, self._desk.clock()
        if not name or store.turn([name], lambda _: {})[name] == Standing():
            raise PolicyError("there is no such account", remedy="choose one of the list")
        self._desk.guard.record(
            LogEntry(
                kind="unlock",
                at=int(now * 1000),
                policy=self._desk.guard.chain.book.digest,
                account=name,
                detail={"by": asked.viewer.account},
            )
        )
        store.turn([name], lambda standings: {name: unlock(standings[name], now)})
        return back("/ui/accounts")

    def revoke(self, asked: Asked) -> Response:
        """A key is of no use any more; the store keeps the event for the log.

        Raises:
            PolicyError: there is no such key, or it is revoked already.
        """
        if not self._desk.guard.store.revoke(
            asked.form.get("key", "")[:_MOST_NAME], self._desk.clock(), asked.viewer.account
        ):
            raise PolicyError("there is no such key, or it is revoked already", remedy="choose one of the list")
        return back("/ui/accounts#keys")
