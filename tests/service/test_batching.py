"""Requests that arrive together go together, every accepted one is answered, and none spoils another's answer."""

import asyncio
import threading
import time

import pytest

from redoubt.service.batching import Batcher
from redoubt.service.chain.base import Reply, Request


def request(name, size=1):
    return Request(f"Bearer {name}", name, None, name.encode() * size)


class Chain:
    """Answers each request with its own body; `gate` holds it up, `broken` breaks it."""

    def __init__(self):
        self.batches, self.threads = [], set()
        self.gate = threading.Event()
        self.gate.set()
        self.broken = None

    def run(self, requests):
        self.threads.add(threading.current_thread().name)
        self.batches.append([each.model for each in requests])
        assert self.gate.wait(10)
        return self.broken(requests) if self.broken else [Reply(200, each.body) for each in requests]


def scene(play, **settings):
    """Run `await play(batcher, chain)` and close the batcher."""
    chain = Chain()

    async def all_of_it():
        batcher = Batcher(chain.run, **settings)
        try:
            return await play(batcher, chain)
        finally:
            chain.gate.set()
            await batcher.close()

    return asyncio.run(all_of_it())


async def held(batcher, chain):
    """A first request that holds the thread; what comes next gathers behind it."""
    chain.gate.clear()
    first = asyncio.create_task(batcher.submit(request("first")))
    while not chain.batches:
        await asyncio.sleep(0.001)
    return first


def test_everybody_gets_their_own_answer_from_one_thread():
    async def play(batcher, chain):
        replies = await asyncio.gather(*(batcher.submit(request(str(n))) for n in range(500)))
        assert [reply.body for reply in replies] == [str(n).encode() for n in range(500)]
        assert chain.threads == {"chain"}
        assert max(map(len, chain.batches)) <= 16
        assert sum(map(len, chain.batches)) == 500

    scene(play, most=16)


def test_a_lone_request_goes_at_once_and_what_waits_goes_together():
    async def play(batcher, chain):
        first = await held(batcher, chain)
        others = [asyncio.create_task(batcher.submit(request(str(n)))) for n in range(10)]
        await asyncio.sleep(0)
        assert batcher.waiting == 10
        chain.gate.set()
        await asyncio.gather(first, *others)
        assert chain.batches == [["first"], [str(n) for n in range(10)]]

    scene(play)


def test_patience_waits_for_those_who_have_just_been_answered():
    """Eight callers ask again as soon as they are answered: soon they walk together, and nobody waits for a ninth."""

    async def play(batcher, chain):
        async def caller(name):
            for turn in range(10):
                await batcher.submit(request(f"{name} {turn}"))

        begin = time.perf_counter()
        await asyncio.gather(*(caller(str(n)) for n in range(8)))
        assert max(map(len, chain.batches)) == 8
        assert sum(map(len, chain.batches)) == 80
        assert len(chain.batches) <= 40
        assert time.perf_counter() - begin < 60  # it did not wait for longer than it had to, but for the last ones

    scene(play, most=64, patience=3.0)


def test_whoever_is_alone_waits_for_nobody():
    async def play(batcher, chain):
        begin = time.perf_counter()
        for turn in range(3):
            await batcher.submit(request(str(turn)))
        assert time.perf_counter() - begin < 30

    scene(play, most=64, patience=60.0)


def test_a_full_queue_answers_503_at_once():
    async def play(batcher, chain):
        first = await held(batcher, chain)
        kept = [asyncio.create_task(batcher.submit(request(str(n)))) for n in range(3)]
        await asyncio.sleep(0)
        refused = await batcher.submit(request("late"))
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        chain.gate.set()
        assert [reply.status for reply in await asyncio.gather(first, *kept)] == [200] * 4
        assert (await batcher.submit(request("again"))).status == 200

    scene(play, waiting=3)


def test_bytes_that_wait_are_bounded_and_given_back():
    async def play(batcher, chain):
        first = await held(batcher, chain)
        kept = asyncio.create_task(batcher.submit(request("x", 900)))
        await asyncio.sleep(0)
        assert (await batcher.submit(request("y", 200))).status == 503
        assert (await asyncio.wait_for(asyncio.shield(_free(batcher, chain, first, kept)), 5)) == 200

    async def _free(batcher, chain, first, kept):
        chain.gate.set()
        await asyncio.gather(first, kept)
        return (await batcher.submit(request("z", 1000))).status

    scene(play, waiting_bytes=1000)


def test_large_bodies_make_small_batches():
    async def play(batcher, chain):
        first = await held(batcher, chain)
        others = [asyncio.create_task(batcher.submit(request(str(n), 60))) for n in range(3)]
        await asyncio.sleep(0)
        chain.gate.set()
        await asyncio.gather(first, *others)
        assert chain.batches == [["first"], ["0"], ["1"], ["2"]]

    scene(play, batch_bytes=100)


def test_who_leaves_is_not_asked_for_and_harms_nobody():
    async def play(batcher, chain):
        first = await held(batcher, chain)
        others = [asyncio.create_task(batcher.submit(request(str(n)))) for n in range(4)]
        await asyncio.sleep(0)
        first.cancel()  # its batch is under way
        others[1].cancel()  # its batch is not
        await asyncio.sleep(0)
        chain.gate.set()
        replies = await asyncio.gather(first, *others, return_exceptions=True)
        assert [type(reply) for reply in replies] == [
            asyncio.CancelledError, Reply, asyncio.CancelledError, Reply, Reply
        ]  # fmt: skip
        assert chain.batches == [["first"], ["0", "2", "3"]]

    scene(play)


def test_a_batch_that_everybody_left_is_not_run():
    async def play(batcher, chain):
        first = await held(batcher, chain)
        gone = asyncio.create_task(batcher.submit(request("gone")))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        chain.gate.set()
        await first
        assert (await batcher.submit(request("next"))).body == b"next"
        assert chain.batches == [["first"], ["next"]]

    scene(play)


def _raise(requests):
    raise RuntimeError("secret of the chain")


@pytest.mark.parametrize(
    "fault", [_raise, lambda requests: [], lambda requests: [Reply(200, b"")] * (len(requests) + 1)]
)
def test_a_fault_is_answered_500_and_the_next_batch_is_served(fault):
    async def play(batcher, chain):
        chain.broken = fault
        replies = await asyncio.gather(*(batcher.submit(request(str(n))) for n in range(5)))
        assert {reply.status for reply in replies} == {500}
        assert b"secret" not in replies[0].body
        chain.broken = None
        assert (await batcher.submit(request("next"))).body == b"next"

    scene(play)


def test_closing_answers_all_that_was_accepted_and_nothing_more():
    async def play(batcher, chain):
        first = await held(batcher, chain)
        others = [asyncio.create_task(batcher.submit(request(str(n)))) for n in range(100)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0.01)
        assert batcher.closing
        assert not closing.done()
        assert (await batcher.submit(request("late"))).status == 503
        chain.gate.set()
        assert {reply.status for reply in await asyncio.gather(first, *others)} == {200}
        await closing

    scene(play, most=8)


def test_callers_of_several_event_loops():
    chain = Chain()
    batcher = Batcher(chain.run)
    found = {}

    async def many(name):
        return await asyncio.gather(*(batcher.submit(request(f"{name}{n}")) for n in range(50)))

    def caller(name):
        found[name] = [reply.body for reply in asyncio.run(many(name))]

    threads = [threading.Thread(target=caller, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    asyncio.run(batcher.close())
    assert found == {name: [f"{name}{n}".encode() for n in range(50)] for name in "abc"}


def test_a_watcher_hears_of_each_batch():
    heard = []

    async def play(batcher, chain):
        await asyncio.gather(*(batcher.submit(request(str(n))) for n in range(20)))
        assert sum(count for count, _ in heard) == 20
        assert all(0 <= waited < 10 for _, waited in heard)

    scene(play, watch=lambda count, waited: heard.append((count, waited)))


def test_nobody_keeps_all_others_out():
    def of(credential):
        return Request(credential, "m", None, b"x")

    async def play(batcher, chain):
        first = await held(batcher, chain)
        mine = [asyncio.create_task(batcher.submit(of("greedy"))) for _ in range(9)]
        await asyncio.sleep(0)
        assert batcher.waiting == 5
        refused = [await task for task in mine[5:]]
        assert {reply.status for reply in refused} == {503}
        assert b"your requests" in refused[0].body
        others = [asyncio.create_task(batcher.submit(of(name))) for name in ("a", "b", None)]
        await asyncio.sleep(0)
        assert batcher.waiting == 8
        chain.gate.set()
        assert {reply.status for reply in await asyncio.gather(first, *mine[:5], *others)} == {200}
        assert (await batcher.submit(of("greedy"))).status == 200
        assert not batcher._holding  # nobody is remembered

    scene(play, waiting=10)
