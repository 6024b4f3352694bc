"""The page of the log's health."""

from starlette.responses import Response

from redoubt.service.ui.entrance.door import Asked
from redoubt.service.ui.pages.desk import Desk, back
from redoubt.service.ui.proofs.health import by_hour, witnessed
from redoubt.service.ui.proofs.reading import Found, Opened, find, open_log
from redoubt.service.ui.proofs.verification import Verification


class LogPages:
    """Handlers; see `redoubt.service.ui.entrance.door.Handler`."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._verification = desk, Verification(desk.guard.log, desk.clock)

    def health(self, asked: Asked) -> Response:
        """Size, checkpoint, witnesses, entries by the hour, the last verification, readiness."""
        opened, now = open_log(self._desk.guard.log), self._desk.clock()
        record = self._desk.policy.record
        return self._desk.page(
            "log",
            asked,
            "log",
            size=opened.reader.size,
            key=str(opened.key),
            trouble=opened.trouble,
            note=bytes(opened.reader.note).decode(),
            newest=_newest(opened),
            hours=by_hour(opened.reader, now),
            witnesses=witnessed(self._desk.guard.log, opened.reader.size, record.witnesses),
            verified=self._verification.last,
            unready=self._desk.guard.unready(),
            keep=record.keep,
            log=record.log,
            model=self._desk.guard.chain.book.model,
            policy=self._desk.guard.chain.book.digest,
        )

    def verify(self, asked: Asked) -> Response:
        """Verify the whole log, in the background."""
        self._verification.start()
        return back("/ui/log")


def _newest(opened: Opened) -> Found | None:
    return find(opened.reader, opened.reader.size - 1) if opened.reader.size else None
