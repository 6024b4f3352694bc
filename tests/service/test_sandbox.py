"""What the sandbox takes from a process, seen from inside; and what the parent believes of one that misbehaves."""

import json
import re
import subprocess
import sys

import pytest

from redoubt.records import DataError
from redoubt.service.sandbox import run
from redoubt.service.sandbox.confine import Limits

LIMITS = (20, 2 * 2**30, 2**20)
TRY = """
import json, sys
from pathlib import Path
from redoubt.service.sandbox.confine import Limits, confine
held = confine(Limits({limits}), Path({folder!r}))
def attempt(act):
    try:
        act()
    except BaseException as error:
        return type(error).__name__
    return "done"
import os, signal, socket, subprocess, threading
from pathlib import Path
print(json.dumps([held, {{name: attempt(act) for name, act in {{
    "socket": lambda: socket.socket(),
    "name": lambda: socket.create_connection(("127.0.0.1", 9), 1),
    "program": lambda: subprocess.run(["true"]),
    "process": lambda: os.fork() or os._exit(0),
    "signal": lambda: os.kill(os.getppid(), 0),
    "thread": lambda: threading.Thread(target=int).start(),
    "own file": lambda: Path({folder!r}, "mine").write_text("x"),
    "large file": lambda: Path({folder!r}, "large").write_bytes(bytes(2**21)),
    "other file": lambda: Path({outside!r}, "theirs").write_text("x"),
    "change": lambda: Path({outside!r}, "there").write_text("changed"),
    "remove": lambda: Path({outside!r}, "there").unlink(),
    "memory": lambda: bytearray(4 * 2**30),
}}.items()}}]))
"""


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """What is possible in a confined process: by name, `done` or the error."""
    base = tmp_path_factory.mktemp("sandbox")
    folder, outside = base / "own", base / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "there").write_text("as it was")
    code = TRY.format(limits=", ".join(map(str, LIMITS)), folder=str(folder), outside=str(outside))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    held, found = json.loads(done.stdout)
    return held, found, outside


def test_its_limits_hold_everywhere(tried):
    _, found, _ = tried
    assert (found["memory"], found["large file"]) == ("MemoryError", "OSError")
    assert (found["own file"], found["thread"]) == ("done", "done")


def test_without_network_programs_and_processes_where_the_kernel_can(tried):
    held, found, _ = tried
    if "not confined" in held["network"]:
        pytest.skip(held["network"])
    assert {found[name] for name in ("socket", "name", "program", "process", "signal")} == {"PermissionError"}


def test_files_outside_its_folder_stay_as_they_are_where_the_kernel_can(tried):
    held, found, outside = tried
    if "not confined" in held["files"]:
        pytest.skip(held["files"])
    assert {found[name] for name in ("other file", "change", "remove")} == {"PermissionError"}
    assert (outside / "there").read_text() == "as it was"
    assert not (outside / "theirs").exists()


# ── the parent ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os; os.kill(os.getpid(), 11)", "ended by SIGSEGV"),
        ("raise ValueError('odd')", "exit status 1.*odd"),
        ("print('[1, 2]')", "broke"),
        ("print('{\"result\": 1}')", "broke"),  # nothing confined it
        ("print('{' * 100000)", "broke"),
        ("import sys; sys.stdout.write('1' * 5 * 2**20)", "more than 4194304 bytes"),
        ("import time; time.sleep(60)", "longer than 1 s"),
    ],
)
def test_what_a_broken_process_leaves_is_not_believed(tmp_path, monkeypatch, code, why):
    """Any process in the stead of our child."""
    real = subprocess.Popen
    monkeypatch.setattr(run.subprocess, "Popen", lambda command, **more: real([sys.executable, "-c", code], **more))
    ended = run.run_sandboxed({}, tmp_path, Limits(5, 2**30, 2**23), wait=1.0 if "sleep" in code else 60.0)
    assert ended.result is None
    assert re.search(why, ended.why), ended.why


def test_our_own_faults_are_not_the_candidates(tmp_path, monkeypatch):
    real = subprocess.Popen
    code = "import json; print(json.dumps({'ours': ['DataError', 'no data', 'get some'], 'held': {}}))"
    monkeypatch.setattr(run.subprocess, "Popen", lambda command, **more: real([sys.executable, "-c", code], **more))
    with pytest.raises(DataError, match="no data"):
        run.run_sandboxed({}, tmp_path, Limits(5, 2**30, 2**23), wait=60.0)


def test_secrets_are_not_handed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    seen = {}
    real = subprocess.Popen

    def spy(command, **more):
        seen.update(more["env"])
        return real([sys.executable, "-c", ""], **more)

    monkeypatch.setattr(run.subprocess, "Popen", spy)
    run.run_sandboxed({}, tmp_path, Limits(5, 2**30, 2**23), wait=60.0)
    assert "PYTHONPATH" in seen
    assert "PGPASSWORD" not in seen
