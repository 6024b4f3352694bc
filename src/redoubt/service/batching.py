"""Dynamic batching: requests that arrive together walk the chain together, in one thread of their own.

The batch is natural: while one batch is under way the next one gathers, and goes as soon as the thread is free.  So a
lone request waits for nobody, and under load batches grow by themselves.  But they grow to half of the callers only:
the other half are on their way while the batch is, and what a batch costs in itself (a pass over all training points,
a transaction, a sync) is paid twice.  `patience` is how long a batch waits for those who have just been answered to
come back; it pays where a batch is dear (a third more requests a second through the whole chain), and costs where it
is cheap.
"""

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from redoubt.records import Fault
from redoubt.service.chain.base import Reply, Request
from redoubt.service.protocol.errors import error_body

_log = structlog.get_logger("redoubt.batching")
_BUSY = Reply(503, error_body("too many requests are waiting; ask again later"), {"retry-after": "1"})
_YOURS = Reply(503, error_body("too many of your requests are waiting; ask again later"), {"retry-after": "1"})
_CLOSING = Reply(503, error_body("the guard is shutting down; ask again later"), {"retry-after": "5"})
_BROKEN = Reply(500, error_body("a fault of the guard; it is in its log"))


@dataclass(frozen=True)
class _Waiting:
    request: Request
    answer: "asyncio.Future[Reply]"
    loop: asyncio.AbstractEventLoop
    since: float


class Batcher:
    """Hands requests to `run` in batches, and the replies back.

    Every request that was accepted is answered: with `run`'s reply; with a 500 if `run` raised for its batch, and the
    next batch is not concerned.  One that could not be accepted is answered 503 at once.

    Args:
        run: answers a batch, one reply for each request, in their order; it is called in one thread only.
        most: requests in a batch.
        patience: seconds that a batch waits at most, until there are as many as were being answered or waiting when the
            one before ended.  Whoever is alone waits for nobody.
        waiting: requests that may wait.
        each: share of these places that requests with the same credential may hold, so that nobody can keep all others
            out.
        waiting_bytes: bytes of the bodies of all that wait.
        batch_bytes: bytes of the bodies of a batch, unless it holds one request only.
        watch: is told of each batch how many requests it holds and how long the first of them waited; may not raise.
    """

    def __init__(
        self,
        run: Callable[[list[Request]], Sequence[Reply]],
        most: int = 64,
        patience: float = 0.0,
        *,
        waiting: int = 1024,
        each: float = 0.5,
        waiting_bytes: int = 256 * 2**20,
        batch_bytes: int = 8 * 2**20,
        watch: Callable[[int, float], None] | None = None,
    ) -> None:
        self._run, self._most, self._patience = run, most, patience
        self._most_waiting, self._most_bytes = waiting, waiting_bytes
        self._most_each = max(int(waiting * each), 1)
        self._holding: Counter[str | None] = Counter()  # places, by credential
        self._batch_bytes, self._watch = batch_bytes, watch
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0
        self._closing = False
        self._company = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="chain", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    @property
    def closing(self) -> bool:
        """Whether no further requests are accepted."""
        return self._closing

    async def submit(self, request: Request) -> Reply:
        """The reply to a request.  Whoever stops waiting for it harms nobody else."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Reply] = loop.create_future()
        with self._changed:
            if self._closing:
                return _CLOSING
            if len(self._queue) >= self._most_waiting or self._bytes + len(request.body) > self._most_bytes:
                return _BUSY
            if self._holding[request.credential] >= self._most_each:
                return _YOURS
            self._holding[request.credential] += 1
            self._queue.append(_Waiting(request, answer, loop, time.monotonic()))
            self._bytes += len(request.body)
            self._changed.notify()
        return await answer

    def stop(self) -> None:
        """Accept nothing more; what was accepted is answered still."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    async def close(self) -> None:
        """As `stop`, and come back when everything is answered."""
        self.stop()
        await asyncio.to_thread(self._thread.join)

    # ── in the thread ────────────────────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        while batch := self._next():
            if self._watch is not None:
                self._watch(len(batch), time.monotonic() - batch[0].since)
            replies = self._answer([each.request for each in batch])
            self._company = len(batch) + len(self._queue)
            _hand_back(batch, replies)

    def _next(self) -> list[_Waiting]:
        """The next batch, without those who left meanwhile; empty when closing and all are answered."""
        while True:
            with self._changed:
                while not self._queue and not self._closing:
                    self._changed.wait()
                if self._patience and self._company > 1:
                    self._changed.wait_for(self._complete, self._patience)
                taken = self._take()
            batch = [each for each in taken if not each.answer.cancelled()]
            if batch or not taken:
                return batch

    def _complete(self) -> bool:
        return self._closing or len(self._queue) >= min(self._most, self._company)

    def _take(self) -> list[_Waiting]:
        taken: list[_Waiting] = []
        size = 0
        while self._queue and len(taken) < self._most:
            size += len(self._queue[0].request.body)
            if taken and size > self._batch_bytes:
                break
            taken.append(self._queue.popleft())
            self._leaves(taken[-1].request)
        return taken

    def _leaves(self, request: Request) -> None:
        self._bytes -= len(request.body)
        self._holding[request.credential] -= 1
        if not self._holding[request.credential]:
            del self._holding[request.credential]  # or the credentials of all strangers would be remembered

    def _answer(self, requests: list[Request]) -> Sequence[Reply]:
        try:
            replies = self._run(requests)
            if len(replies) != len(requests):
                raise Fault(f"{len(replies)} replies to {len(requests)} requests")
        except Exception:  # the wall: whatever breaks in a batch, the next one is served
            _log.exception("a batch broke", requests=len(requests))
            return [_BROKEN] * len(requests)
        return replies


def _hand_back(batch: Sequence[_Waiting], replies: Sequence[Reply]) -> None:
    """Wake the callers: each event loop once, whatever the number of its callers."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Reply], Reply]]] = {}
    for each, reply in zip(batch, replies, strict=True):
        by_loop.setdefault(each.loop, []).append((each.answer, reply))
    for loop, answers in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, answers)
        except RuntimeError:  # the loop is closed, and with it everybody who waited there
            _log.warning("nobody is left to be answered", requests=len(answers))


def _settle(answers: Sequence[tuple["asyncio.Future[Reply]", Reply]]) -> None:
    for future, reply in answers:
        if not future.done():
            future.set_result(reply)
