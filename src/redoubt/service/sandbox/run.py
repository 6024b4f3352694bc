"""The parent's side: start the child, wait within bounds, and believe of what it wrote only what parses."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from redoubt.records import DataError, EndpointError, Fault, ModelError, PolicyError, RedoubtError, StorageError
from redoubt.records.canonical import Json, canonical_json
from redoubt.service.sandbox.confine import Limits

MOST_RESULT = 4 * 2**20  # bytes of JSON
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "REDOUBT_DATA", "TMPDIR")
_KINDS: dict[str, type[RedoubtError]] = {
    kind.__name__: kind for kind in (DataError, EndpointError, ModelError, PolicyError, StorageError)
}


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        result: what it found; None if the candidate is to blame that there is nothing.
        why: then, in a sentence.
        held: what confined it.
    """

    result: object | None
    why: str
    held: dict[str, str]


def run_sandboxed(job: Mapping[str, Json], folder: Path, limits: Limits, wait: float) -> Ended:
    """Do a job on a candidate in a process of its own.

    The environment holds no secrets: few variables are handed on.

    Args:
        job: for `redoubt.service.update.work.perform`.
        folder: the only one in which the child may write; whatever it leaves there is as suspicious as the candidate.
        limits: resources.
        wait: seconds by the clock.

    Raises:
        RedoubtError: the policy, the data or the model in force is wrong, and the candidate is not to blame.
    """
    paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment |= {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    words = [limits.seconds, limits.memory, limits.file, folder.resolve()]
    command = [sys.executable, "-P", "-B", "-m", "redoubt.service.sandbox.child", *(str(word) for word in words)]
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        process = subprocess.Popen(  # noqa: S603  our own module, by its path
            command,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=complained,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        try:
            process.communicate(canonical_json(job), timeout=wait)
        except subprocess.TimeoutExpired:
            return Ended(None, f"It took longer than {wait:g} s, and was stopped.", {})
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        said.seek(0)
        raw = said.read(MOST_RESULT + 1)
        complained.seek(max(complained.seek(0, os.SEEK_END) - 2000, 0))
        last = complained.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
    return _ended(process.returncode, raw, last)


def _ended(status: int, raw: bytes, last: str) -> Ended:
    if status < 0:
        name = {each.value: each.name for each in signal.Signals}.get(-status, str(-status))
        why = {"SIGXCPU": "It used up its processor time.", "SIGKILL": "It was killed: too much memory or time."}
        return Ended(None, why.get(name, f"Its process was ended by {name}."), {})
    if len(raw) > MOST_RESULT:
        return Ended(None, f"It answered with more than {MOST_RESULT} bytes.", {})
    try:
        answer = json.loads(raw)
        held = {str(key): str(value) for key, value in answer["held"].items()}
        if "candidate" in answer:
            return Ended(None, str(answer["candidate"]), held)
        if "ours" in answer:
            kind, what, remedy = (str(part) for part in answer["ours"])
            raise _KINDS.get(kind, Fault)(what, remedy=remedy)
        return Ended(answer["result"], "", held)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Ended(None, f"Its process broke (exit status {status}): {last[:500] or 'it said nothing'}", {})
