"""While a guard is being opened its process says that it lives and is not ready; then the guard answers."""

import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
import structlog

from guarded import with_guard
from guarded_digits import KEY, GuardedDigits, digits, message
from redoubt.records import PolicyError
from redoubt.service.web import Doorstep, create_app, server
from web_client import INFER


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextmanager
def standing(open_up):
    """A doorstep on a socket: its client, itself, and whether it gave up."""
    gave_up = threading.Event()
    doorstep, port = Doorstep(open_up, gave_up.set), free_port()
    running = server(doorstep, "127.0.0.1", port)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        yield client, doorstep, gave_up
    running.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def test_it_lives_and_is_not_ready_until_the_guard_is_open():
    opened = threading.Event()

    def open_up():
        assert opened.wait(30)
        return create_app(GuardedDigits())

    with standing(open_up) as (client, doorstep, gave_up):
        assert client.get("/v2/health/live").json() == {"live": True}
        for method, path in (("GET", "/v2/health/ready"), ("GET", "/v2/models/digits"), ("POST", INFER)):
            answer = client.request(method, path)
            assert answer.status_code == 503
            assert "starting" in answer.json()["error"]
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert doorstep.opening
        opened.set()
        while client.get("/v2/health/ready").status_code != 200:
            time.sleep(0.01)
        asked = client.post(
            INFER, content=message(digits()[0][:1]), headers={"authorization": KEY, "content-type": "application/json"}
        )
        assert asked.json()["outputs"][0]["data"] == [0]
        assert not doorstep.opening
        assert not gave_up.is_set()


def test_an_opening_that_fails_is_told():
    def open_up():
        raise PolicyError("no such model")

    with standing(open_up) as (client, doorstep, gave_up):
        assert gave_up.wait(10)
        assert isinstance(doorstep.error, PolicyError)
        assert client.get("/v2/health/ready").status_code == 503


def test_an_end_does_not_wait_for_an_opening():
    never = threading.Event()

    def open_up():
        never.wait(60)
        return create_app(GuardedDigits())

    begin = time.monotonic()
    with standing(open_up) as (client, doorstep, _):
        assert client.get("/v2/health/live").status_code == 200
    assert time.monotonic() - begin < 20
    assert doorstep.opening
    never.set()


@pytest.mark.parametrize("wrong", ["the policy", "the port"])
def test_what_stands_in_the_way_is_said_and_ends_the_command(write, wrong):
    policy = with_guard(write())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        if wrong == "the policy":
            policy.write_text(policy.read_text().replace("signals.confidence", "signals.confidences"))
            port = free_port()
        done = subprocess.run(
            [sys.executable, "-m", "redoubt", "guard", str(policy), "--port", str(port)],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    said = done.stderr + done.stdout
    assert done.returncode == 3, said
    assert ("confidences" if wrong == "the policy" else "cannot listen") in said
    assert "Traceback" not in said


def test_strangers_cannot_fill_the_log_while_it_starts():
    never = threading.Event()

    def open_up():
        never.wait(60)
        return create_app(GuardedDigits())

    with structlog.testing.capture_logs() as said, standing(open_up) as (client, _, _):
        for _ in range(20):
            assert client.get("/v2").status_code == 503
    assert said == []
    never.set()
