"""A guard in a process of its own, under load, while what it stands on breaks: killed, disk full, store or model gone.

Whatever happens, no answer leaves without its entry in the log, nobody is answered who should not be, and the guard
serves again by itself as soon as it can.
"""

import random
import resource
import shutil
import subprocess
import time
from contextlib import contextmanager

import numpy as np
import pytest

from guarded import START, ask, digits, new_key, opened, with_guard
from postgres_server import postgres  # noqa: F401  a fixture
from redoubt.service.inprocess import VirtualClock
from redoubt.service.log import LogReader, parse_entry
from running import Caller, Load, keys, recorded, supervised, until, verified
from v2_server import V2Server, tensor

SURE = '    - {name: sure, rule: "signals.confidence >= 0.01", otherwise: refuse}'
X = digits(1700)


@pytest.fixture
def policy_file(write):
    """A guarded policy that refuses nobody: what is refused below is refused for another reason."""
    return lambda **kwargs: with_guard(write(), admit=SURE, per_day=10_000_000, **kwargs)


def reloads(log):
    """How many a log has published so far."""
    reader = LogReader(log)
    return sum(parse_entry(raw).kind == "reload" for raw in reader.entries(0, reader.size))


def decisions(entries):
    return [entry for entry in entries if entry.kind == "decision"]


# ── kill -9 ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_at_any_moment_nothing_that_was_answered_is_missing(policy_file, kills):
    path = policy_file()
    moments = random.Random(0)
    with supervised(path) as guard, Load(guard.port, keys(path, 4), X) as load:
        for _ in range(kills):
            load.more(20, guard.said)
            time.sleep(moments.uniform(0, 0.2))
            guard.kill()
            guard.ready()  # nobody lent a hand
        load.more(20, guard.said)
        assert guard.starts == kills + 1
        assert guard.stop() == 0
    entries = recorded(path.parent / "audit", load.answers)
    assert load.statuses() <= {200, 0, 503}  # 0: nobody was there, or the answer was cut off; 503: it was starting
    assert [entry.kind for entry in entries].count("start") == kills + 1
    assert len(decisions(entries)) >= load.good()
    content, said = verified(path.parent / "audit")
    assert content, said


# ── signals and reloads under load ───────────────────────────────────────────────────────────────────────────────


def test_a_reload_loses_no_request_and_an_orderly_end_none_that_was_accepted(policy_file):
    path = policy_file()
    with supervised(path) as guard, Load(guard.port, keys(path, 4), X) as load:
        load.more(20, guard.said)
        for version in (2, 3):
            path.write_text(path.read_text() + f"# {version}\n")
            deadline = time.monotonic() + 60
            while reloads(path.parent / "audit") < version - 1 and time.monotonic() < deadline:
                load.more(20, guard.said)
            load.more(20, guard.said)
        assert load.statuses() == {200}
        assert guard.stop() == 0
    answered = [answer for answer in load.answers if answer.status]
    assert all(answer.status in (200, 503) for answer in answered)  # 503: it said that it is shutting down
    entries = recorded(path.parent / "audit", load.answers)
    assert entries[0].kind == "start"
    assert entries[-1].kind == "stop"
    assert len({entry.policy for entry in decisions(entries)}) >= 2
    given = {index for answer in answered for index, _ in answer.receipts}
    assert given == {at for at, entry in enumerate(entries) if entry.kind == "decision"}  # each was answered


# ── the disk ─────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def small_disk(folder):
    """A file system of 96 MiB for a folder, where one may be mounted; else None."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96m,mode=700", "redoubt", str(folder)]
    mounted = (
        shutil.which("mount") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def no_space(disk, guard):
    """Not one byte can be written: the disk is full, or where none could be mounted, files may not grow."""
    if disk is None:
        resource.prlimit(guard.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        yield
        resource.prlimit(guard.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    yield
    filler.unlink()


@pytest.mark.parametrize("how", ["full", "limited"])
def test_with_a_full_disk_it_refuses_clearly_loses_nothing_and_recovers(write, tmp_path, how):
    with small_disk(tmp_path / "disk") as disk:
        if how == "full" and disk is None:
            pytest.skip("nothing can be mounted here")
        path = with_guard(write(folder="disk"), admit=SURE, per_day=10_000_000)
        with supervised(path) as guard, Load(guard.port, keys(path, 3), X) as load:
            load.more(20, guard.said)
            with no_space(disk if how == "full" else None, guard):
                until(lambda: 503 in load.statuses(), guard.said)
                until(lambda: guard.get("/v2/health/ready")[0] == 503, guard.said)
                assert guard.get("/v2/health/live")[0] == 200
                time.sleep(0.5)
            guard.ready()
            load.more(20, guard.said)
            assert guard.starts == 1  # it went on by itself
            assert guard.stop() == 0
        errors = {answer.json["error"] for answer in load.answers if answer.status == 503}
        assert errors <= {
            "the guard cannot reach its store; ask again later",
            "the guard cannot record its decisions; ask again later",
            "the guard is shutting down; ask again later",
        }
        recorded(path.parent / "audit", load.answers)
        content, said = verified(path.parent / "audit")
        assert content, said


# ── the store and the model elsewhere ────────────────────────────────────────────────────────────────────────────


def test_without_its_database_it_refuses_within_seconds_and_recovers(policy_file, postgres):  # noqa: F811
    path = policy_file(keys=f'"{postgres.empty()}"')
    with supervised(path) as guard:
        (key,) = keys(path)
        caller = Caller(guard.port, key)
        assert caller.ask(X[:1]).status == 200
        postgres.stop()
        try:
            refused = caller.ask(X[1:2])
            assert (refused.status, refused.json["error"]) == (503, "the guard cannot reach its store; ask again later")
            assert refused.seconds < 10
            until(lambda: guard.get("/v2/health/ready")[0] == 503, guard.said)
            assert guard.get("/v2/health/live")[0] == 200
        finally:
            postgres.start()
        guard.ready()
        answers = [caller.ask(X[at : at + 1]) for at in range(2, 6)]
        assert [answer.status for answer in answers] == [200] * 4
        assert guard.stop() == 0
    entries = decisions(recorded(path.parent / "audit", [refused, *answers]))
    assert [entry.action for entry in entries] == ["admit", "refuse", *["admit"] * 4]


def test_with_its_upstream_slow_or_gone_it_refuses_within_seconds_and_recovers(policy_file):
    def upstream(port=0):
        return V2Server(lambda x: [tensor(x.reshape(len(x), -1)[:, :10])], [-1, 1, 8, 8], port)

    path = policy_file()
    with upstream().running() as server:
        server.headers = {"connection": "close"}  # so that it can go
        text = path.read_text().replace("torch:planted:reader", server.url)
        path.write_text("".join(line for line in text.splitlines(keepends=True) if "weights: reader" not in line))
        with supervised(path) as guard:
            (key,) = keys(path)
            caller = Caller(guard.port, key)
            assert caller.ask(X[:1]).status == 200
            server.delay = 8.0
            slow = caller.ask(X[1:2])
            server.delay = 0.0
            again = caller.ask(X[2:3])
            server.close()
            gone = caller.ask(X[3:4])
            with upstream(server.port).running() as other:
                other.headers = server.headers
                back = caller.ask(X[4:5])
            assert guard.stop() == 0
    told = "the model behind the guard does not answer; ask again later"
    for refused in (slow, gone):
        assert (refused.status, refused.json["error"]) == (503, told)
        assert refused.seconds < 7.5
    assert (again.status, back.status) == (200, 200)
    entries = decisions(recorded(path.parent / "audit", [slow, again, gone, back]))
    assert [entry.action for entry in entries] == ["admit", "refuse", "admit", "refuse", "admit"]


# ── the clock ────────────────────────────────────────────────────────────────────────────────────────────────────


class Backwards(VirtualClock):
    """A clock that an administrator, or a time server, sets back."""

    def set_back(self, seconds):
        self._now -= seconds


def test_a_clock_set_back_gives_nothing_back_and_stops_nobody_else(write):
    locking = '    - {name: new, rule: "signals.similar_queries < 1", otherwise: lock}'
    clock = Backwards(START)
    with opened(with_guard(write(), admit=locking, per_day=4), clock) as guard:
        spender, prober, other = (new_key(guard) for _ in range(3))
        rng = np.random.default_rng(0)
        assert [ask(guard, spender, X[at : at + 1])[0] for at in range(5)] == [200] * 4 + [429]
        near = [np.clip(X[9:10] + rng.normal(0, 0.002, X[9:10].shape), 0, 1).astype(np.float32) for _ in range(4)]
        assert [ask(guard, prober, x)[0] for x in near] == [200, 403, 403, 429]  # two strikes
        for back in (60.0, 86400.0, 30 * 86400.0):
            clock.set_back(back)
            guard.poll()
            assert guard.unready() is None
            assert ask(guard, spender, X[20:21])[0] == 429
            assert ask(guard, prober, X[21:22])[0] == 429
        assert ask(guard, other, X[22:23])[0] == 200
        guard.checkpoint()
        LogReader(guard.log).verify()
        times = [entry.at for entry in recorded(guard.log, [])]
        assert times != sorted(times)  # the log says when, by the clock that there was, and keeps its own order
