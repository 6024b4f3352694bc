"""The whole log, verified when somebody asks, while the guard goes on serving."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from redoubt.records import LedgerError, RedoubtError
from redoubt.service.ui.proofs.reading import open_log

_log = structlog.get_logger("redoubt.ui")


@dataclass(frozen=True)
class Verified:
    """One verification.

    Attributes:
        began: seconds since 1970-01-01 UTC.
        size: of the checkpoint that is verified; 0 until it is read.
        done: entries verified so far.
        wrong: what was found to be wrong, or why it could not be told; empty if nothing.
        seconds: how long it took; None while it runs.
    """

    began: float
    size: int = 0
    done: int = 0
    wrong: str = ""
    seconds: float | None = None


class Verification:
    """Verifies the log in a thread, one at a time, and remembers the last result until the process ends.

    After each bundle it rests for as long as that took, so that it takes half of one core at most from the guard.

    Args:
        folder: of the log.
        clock: seconds since 1970-01-01 UTC.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self._folder, self._clock = folder, clock
        self._lock = threading.Lock()
        self._last: Verified | None = None

    @property
    def last(self) -> Verified | None:
        """The verification that runs, or else the last that did."""
        return self._last

    def start(self) -> None:
        """Begin, unless one runs already."""
        with self._lock:
            if self._last is None or self._last.seconds is not None:
                self._last = Verified(self._clock())
                threading.Thread(target=self._run, args=(self._last,), name="verification", daemon=True).start()

    def _run(self, begun: Verified) -> None:
        since = time.perf_counter()
        wrong = self._wrong(begun)
        seconds = time.perf_counter() - since
        self._last = replace(self._last or begun, wrong=wrong, seconds=seconds)
        if wrong:
            _log.error("the log does not verify", why=wrong)

    def _wrong(self, begun: Verified) -> str:
        """What is; empty if nothing."""
        try:
            opened = open_log(self._folder)
            if opened.trouble:
                return opened.trouble
            state = replace(begun, size=opened.reader.size)
            self._last = state
            before = time.perf_counter()

            def seen(done: int) -> None:
                nonlocal before
                self._last = replace(state, done=done)
                time.sleep(time.perf_counter() - before)
                before = time.perf_counter()

            opened.reader.verify(seen)
        except LedgerError as error:
            place = str(error.where or "").removeprefix(f"{self._folder}/")
            return f"{place}: {error.what}" if place else error.what
        except RedoubtError as error:
            return f"it could not be verified: {error.what}"
        except Exception:  # the wall: a thread that dies in silence would look as if it ran for ever
            _log.exception("the log could not be verified")
            return "it could not be verified: a fault, which the service log has"
        return ""
