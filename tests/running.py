"""`redoubt guard` as a real process, what keeps it running, and customers who ask it from threads."""

import contextlib
import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from guarded import body
from redoubt.ledger import leaf_hash
from redoubt.policy import read_policy
from redoubt.service.identify import make_key
from redoubt.service.log import LogReader, parse_entry
from redoubt.service.stores import open_store

PATIENCE = float(os.environ.get("REDOUBT_PATIENCE", "60"))  # seconds until a process that does not serve has failed
INFER = "/v2/models/digits/infer"


def keys(policy, count=1, tier="public", scopes=("client",)):
    """Authorization headers of new keys, made before the guard runs."""
    file = read_policy(policy)
    store = open_store(file.policy.guard.identify.keys, file.base)
    try:
        made = [make_key(tier, frozenset(scopes), "test", time.time()) for _ in range(count)]
        for key in made:
            store.add_key(key.stored, "test")
    finally:
        store.close()
    return [f"Bearer {key.text}" for key in made]


_NURSERY = """
import os, sys
import redoubt.cli, redoubt.service.serve
from redoubt.cli.app import run
while line := sys.stdin.readline():
    policy, port, output = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if not child:
        there = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(there, 1), os.dup2(there, 2), os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["redoubt", "guard", policy, "--port", port]
        os._exit(run())
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Nursery:
    """Starts guards from a process that has imported everything already: a real process each, without seconds of
    imports.  One at a time."""

    def __init__(self):
        command = [sys.executable, "-c", _NURSERY]
        self._mother = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, policy, port, output):
        self._mother.stdin.write(f"{policy}\t{port}\t{output}\n")
        self._mother.stdin.flush()
        return Forked(int(self._mother.stdout.readline()), self._mother.stdout)

    def close(self):
        self._mother.stdin.close()
        self._mother.wait(PATIENCE)


class Forked:
    """What `subprocess.Popen` would be of such a guard, as far as it is needed."""

    def __init__(self, pid, ended):
        self.pid, self._ended, self._lock, self._status = pid, ended, threading.Lock(), None

    def wait(self, timeout=None):
        with self._lock:
            if self._status is None:
                self._status = int(self._ended.readline())
            return self._status

    def send_signal(self, number):
        if self._status is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Supervised:
    """A guard's process, started again whenever it dies, as systemd would; always at the same port.

    Attributes:
        port: where it listens.
        starts: how often it was started.
    """

    def __init__(self, policy, nursery=None):
        self.policy, self.starts, self._nursery = policy, 0, nursery
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = taken.getsockname()[1]
        self._output = policy.with_suffix(".out")
        self._wanted = True
        self._changed = threading.Condition()
        self._start()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def _start(self):
        if self._nursery is not None:
            self.process = self._nursery.start(self.policy, self.port, self._output)
            self.starts += 1
            return
        with self._output.open("ab") as output:
            command = [sys.executable, "-m", "redoubt", "guard", str(self.policy), "--port", str(self.port)]
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        self.starts += 1

    def _keep(self):
        while True:
            process = self.process
            process.wait()
            with self._changed:
                if not self._wanted:
                    return
                self._start()
                self._changed.notify_all()

    def said(self):
        """What the processes wrote."""
        return self._output.read_text()

    def get(self, path, seconds=10.0):
        """Status and JSON of a GET; None if nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except OSError:
            return None
        finally:
            connection.close()

    def ready(self):
        """Wait until it can answer."""
        until(lambda: (self.get("/v2/health/ready") or (0,))[0] == 200, self.said)

    def kill(self):
        """SIGKILL; come back when the next process has been started."""
        with self._changed:
            before = self.starts
            self.process.send_signal(signal.SIGKILL)
            assert self._changed.wait_for(lambda: self.starts > before, PATIENCE)

    def stop(self):
        """SIGTERM; the exit status."""
        with self._changed:
            self._wanted = False
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def discard(self):
        """End it, if it still runs."""
        with self._changed:
            self._wanted = False
        self.process.kill()
        self._keeper.join(PATIENCE)


@contextlib.contextmanager
def supervised(policy, nursery=None):
    """A guard that is ready."""
    guard = Supervised(policy, nursery)
    try:
        guard.ready()
        yield guard
    finally:
        guard.discard()


def until(true, said=lambda: "", seconds=PATIENCE):
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, said()[-4000:]
        time.sleep(0.02)


@dataclass
class Answer:
    """What came back: status 0 if nothing did."""

    status: int
    text: str = ""
    receipts: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def json(self):
        return json.loads(self.text)


class Caller:
    """One customer with a connection of his own, which he opens again when it breaks."""

    def __init__(self, port, key):
        self._port, self._key = port, key
        self._connection = None

    def ask(self, x, seconds=30.0, name="r1"):
        """One request, under an id.  An answer counts if it came whole."""
        begin = time.monotonic()
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=seconds)
            headers = {"authorization": self._key, "content-type": "application/json"}
            self._connection.request("POST", INFER, body(x, name), headers)
            answer = self._connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException):
            self.close()
            return Answer(0, seconds=time.monotonic() - begin)
        _, *words = (answer.headers.get("redoubt-receipt") or "none").split()
        receipts = [(int(words[0]) + at, leaf) for at, leaf in enumerate(words[1:])] if words else []
        return Answer(answer.status, text, receipts, time.monotonic() - begin)

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Load:
    """Customers who ask at once, one digit after the other, until they are told to stop.

    Attributes:
        answers: all that came back, in no order.
    """

    def __init__(self, port, keys, x):
        self.answers = []
        self._port, self._x = port, x
        self._numbers = itertools.count()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._play, args=(key,), daemon=True) for key in keys]

    def _play(self, key):
        caller = Caller(self._port, key)
        while not self._stopped.is_set():
            at = next(self._numbers) % len(self._x)
            answer = caller.ask(self._x[at : at + 1])
            self.answers.append(answer)
            if not answer.status:
                time.sleep(0.01)
        caller.close()

    def statuses(self):
        return {answer.status for answer in list(self.answers)}

    def more(self, count, said=lambda: ""):
        """Wait for so many further answers that are no errors."""
        before = self.good()
        until(lambda: self.good() >= before + count, said)

    def good(self):
        return sum(answer.status == 200 for answer in list(self.answers))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def recorded(log: Path, answers):
    """All entries of a log that verifies and holds every receipt that was given; of a guard that was stopped."""
    reader = LogReader(log)
    reader.verify()
    raw = list(reader.entries(0, reader.size))
    for answer in answers:
        for index, leaf in answer.receipts:
            assert index < len(raw), f"entry {index} was acknowledged and is missing"
            assert leaf_hash(raw[index]).hex() == leaf
    return [parse_entry(entry) for entry in raw]


def verified(log: Path):
    """Whether `redoubt audit verify` is content; what it says."""
    command = [sys.executable, "-m", "redoubt", "audit", "verify", str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"})
    return done.returncode == 0, re.sub(r"\s+", " ", done.stdout + done.stderr)
