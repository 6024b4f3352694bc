"""The reference monitor: the nine steps, each once, in their order, for a batch of requests.

    1 identify   who asks                                    gate
    2 budget     may they, now, so much                      gate
    3 sanitise   is it an input                              gate
    4 recall     is it near earlier ones                     measure, recall
    5 infer      what the model says                         measure
    6 support    does anything support it                    measure
    7 decide     admit, degrade, escalate, refuse, lock      judge
    8 minimise   what of the answer the tier may see         answer
    9 record     on stable storage before the answer leaves  record

`Chain.run` is the only way to the model.  A step that cannot be taken ends the way of every request that has not ended
yet: unknown, empty or broken means no.
"""

import time
from collections import Counter
from collections.abc import Sequence

import structlog

from redoubt.records import EndpointError, Receipt, RedoubtError, StorageError
from redoubt.service.chain.answer import Shown, answered, minimise, refused
from redoubt.service.chain.base import Reply, Request
from redoubt.service.chain.gate import budget, gather, identify, sanitise
from redoubt.service.chain.judge import judge
from redoubt.service.chain.measure import infer, recall, support
from redoubt.service.chain.record import record
from redoubt.service.chain.rulebook import Rulebook
from redoubt.service.chain.strangers import Strangers
from redoubt.service.chain.walk import End, Inputs, Walk
from redoubt.service.chain.watch import Unwatched, Watch
from redoubt.service.log import Log
from redoubt.service.stores.base import Store

_log = structlog.get_logger("redoubt.guard")
_LATER = 5.0


class Chain:
    """One guard: a rulebook in force, and the store and the log that outlive it.

    `run` is called by one thread at a time; `swap` by any.
    """

    def __init__(
        self,
        book: Rulebook,
        store: Store,
        log: Log,
        watch: Watch | None = None,
    ) -> None:
        """Begin with a rulebook; `watch` is told what happens."""
        self._book, self._store, self._log = book, store, log
        self._watch = watch or Unwatched()
        self._strangers = Strangers()

    @property
    def book(self) -> Rulebook:
        """The rulebook in force."""
        return self._book

    @property
    def untold(self) -> int:
        """How many strangers were refused since the last of them that has an entry in the log."""
        return self._strangers.untold

    def swap(self, book: Rulebook) -> None:
        """Put another rulebook in force.  A batch under way ends with the one it began with."""
        self._book = book

    def run(self, requests: Sequence[Request], now: float) -> list[Reply]:
        """Answer a batch of requests.

        Args:
            requests: as they came in.
            now: seconds since 1970-01-01 UTC, for all of them.

        Returns:
            One reply for each, in their order; whatever was decided is in the log before this returns.
        """
        book, store, walks = self._book, self._store, [Walk(request) for request in requests]
        inputs = gather([], book.face)
        shown: list[Shown | None] = [None] * len(walks)
        step = _Steps(self._watch)
        try:
            step.begin(1)
            identify(walks, book.identifier, book.guard, now)
            step.begin(2)
            standings = budget(walks, store, now, first=True)
            step.begin(3)
            sanitise(walks, book.name, book.face)
            step.begin(2)
            standings |= budget(walks, store, now, first=False)
            inputs = gather(walks, book.face)
            step.begin(4)
            recall(inputs, book, now)
            step.begin(5)
            features = infer(inputs, book)
            step.begin(6)
            support(inputs, features, book)
            step.begin(7)
            judge(inputs, book, standings, store, now)
            step.begin(8)
            shown = [minimise(walk, inputs, book) for walk in walks]
        except Exception as error:  # the wall: whatever breaks, nobody is answered who has not been refused already
            _end_all(walks, step.now, error)
            inputs.decisions = []  # what was not carried through to the end is not recorded as decided
        step.begin(9)
        try:
            receipts = record(walks, inputs, book, self._log, self._strangers, now)
        except Exception as error:  # the wall: nothing leaves that is not recorded, whatever the reason
            known = isinstance(error, RedoubtError)
            _log.error("nothing leaves, since nothing can be recorded", error=str(error), exc_info=not known)
            unrecorded = End(9, 503, "the guard cannot record its decisions; ask again later", _LATER)
            return [refused(walk, unrecorded, ()) for walk in walks]
        finally:
            step.end()
        self._count(walks, inputs)
        return [_reply(*each, book) for each in zip(walks, shown, receipts, strict=True)]

    def _count(self, walks: Sequence[Walk], inputs: Inputs) -> None:
        self._watch.recorded(len(inputs), self._log.size)
        counts: Counter[tuple[str, str]] = Counter()
        for walk in walks:
            tier = walk.caller.tier if walk.caller and walk.tier else "none"
            if walk.end is not None:
                counts[walk.end.action, tier] += max(1, len(walk.rows))
                continue
            for row in walk.rows:
                counts[inputs.decisions[row].action, tier] += 1
        for (action, tier), count in counts.items():
            self._watch.decided(action, tier, count)


def _reply(walk: Walk, shown: Shown | None, receipts: tuple[Receipt, ...], book: Rulebook) -> Reply:
    if walk.end is not None or shown is None:
        return refused(walk, walk.end or End(8, 500, "there is nothing to show"), receipts)
    return answered(walk, shown, receipts, book)


def _end_all(walks: Sequence[Walk], step: int, error: Exception) -> None:
    if isinstance(error, EndpointError):
        end = End(step, 503, "the model behind the guard does not answer; ask again later", _LATER)
    elif isinstance(error, StorageError):
        end = End(step, 503, "the guard cannot reach its store; ask again later", _LATER)
    else:
        end = End(step, 500, "a fault of the guard; it is in its log")
    _log.error("a step failed", step=step, error=str(error), kind=type(error).__name__, exc_info=end.status == 500)
    for walk in walks:
        walk.end = walk.end or end


class _Steps:
    """Which step is being taken, and how long each took."""

    def __init__(self, watch: Watch) -> None:
        self.now = 0
        self._watch, self._since = watch, time.perf_counter()

    def begin(self, step: int) -> None:
        self.end()
        self.now = step

    def end(self) -> None:
        at = time.perf_counter()
        if self.now:
            self._watch.stepped(self.now, at - self._since)
        self.now, self._since = 0, at
