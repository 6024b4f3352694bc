"""Requests per second and latency: the guard, the same stack without it, and MLServer, under the same load.

Each serves the same ONNX file on this machine, alone; wrk asks with 32 connections and the same requests, 10,000 test
images of MNIST, again and again.  They take turns, so that what else the machine does falls on all of them.

Needs wrk; MLServer gets an environment of its own in .bench/mlserver, made here if it is missing.

python bench/guard_load.py [--rounds 5] [--seconds 15] [--patience MS …]

With --patience, the guard alone is measured at each of these settings, and nothing is written.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
from prometheus_client.parser import text_string_to_metric_families

from common import HOME, spread, write
from guard_ground import GUARD, MODEL, STORED, images, new_keys, prepare, remember, store_of

PORT = 18080
CONNECTIONS = 32
WARM_SECONDS = 3
_HERE = Path(__file__).parent
_MLSERVER = HOME / "mlserver"


def requests(keys: list[str]) -> tuple[Path, Path]:
    """Files of bodies and of keys, one a line."""
    bodies = GUARD / "bodies.txt"
    with bodies.open("wb") as file:
        for x in images("test").x:
            tensor = {"name": "input", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": x.numpy().reshape(-1)}
            file.write(orjson.dumps({"inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    listed = GUARD / "keys.txt"
    listed.write_text("".join(f"{key}\n" for key in keys))
    return bodies, listed


def guard(policy: Path, *options: str) -> list[str]:
    """The product, as users start it."""
    command = [sys.executable, "-m", "redoubt", "guard", str(policy), "--port", str(PORT), "--log-level", "warning"]
    return [*command, *options]


def bare(policy: Path) -> list[str]:
    """The same without the guard, and on as many threads."""
    one = [f"{name}=1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")]
    return ["env", *one, sys.executable, str(_HERE / "guard_bare.py"), str(policy), str(PORT)]


def install() -> None:
    """MLServer, in an environment of its own: it wants older libraries than the guard."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing (Debian: apt-get install wrk)")
    stamp = _MLSERVER / ".installed"
    if stamp.exists():
        return
    print(f"bench: installing MLServer into {_MLSERVER}", flush=True)
    venv.create(_MLSERVER, with_pip=True)
    # its worker processes do not start with later uvloops
    wanted = ["mlserver==1.7.1", "onnxruntime", "uvloop<0.22"]
    pip = [str(_MLSERVER / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, *wanted], check=True)
    stamp.touch()


def mlserver(workers: int) -> list[str]:
    """MLServer with so many worker processes; 0: the model runs in the server's own."""
    folder = GUARD / f"mlserver-{workers}"
    folder.mkdir(exist_ok=True)
    (folder / "guard_mlserver.py").write_bytes((_HERE / "guard_mlserver.py").read_bytes())
    (folder / "settings.json").write_text(
        json.dumps({"http_port": PORT, "host": "127.0.0.1", "parallel_workers": workers, "debug": False})
    )
    model = {"name": "mnist", "implementation": "guard_mlserver.Onnx", "parameters": {"uri": str(MODEL)}}
    (folder / "model-settings.json").write_text(json.dumps(model))
    return [str(_MLSERVER / "bin" / "mlserver"), "start", str(folder)]


@contextmanager
def serving(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A server that is ready, alone at its port."""
    if _ready():
        raise SystemExit(f"something else serves at port {PORT}")
    with (GUARD / "server.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        end = time.monotonic() + 600
        while not _ready():
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{command[0]} does not serve; see {GUARD / 'server.log'}")
            time.sleep(0.2)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            print(f"{command[0]} does not end by itself", flush=True)
        finally:
            _end_group(process.pid)
            process.wait()


def _end_group(group: int) -> None:
    """Workers that outlived their server."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _ready() -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{PORT}/v2/health/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def load(bodies: Path, keys: Path, seconds: int) -> dict[str, Any]:
    """One run of wrk."""
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}s",
        "--timeout",
        "10s",
        "-s",
        str(_HERE / "guard_load.lua"),
    ]
    url = f"http://127.0.0.1:{PORT}/v2/models/mnist/infer"
    done = subprocess.run([*command, url, "--", str(bodies), str(keys)], capture_output=True, text=True, check=False)
    found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+)", done.stdout)
    if found is None:
        raise SystemExit(f"wrk said: {done.stdout}{done.stderr}")
    count, micros, p50, p99, broken = (float(text) for text in found.groups())
    statuses = {code: int(many) for code, many in re.findall(r"STATUS (\d+) (\d+)", done.stdout)}
    return {
        "per_second": count / micros * 1e6,
        "p50_ms": p50 / 1e3,
        "p99_ms": p99 / 1e3,
        "broken": broken,
        "statuses": statuses,
    }


def steps(auditor: str) -> dict[str, float]:
    """Microseconds of each step for one request, as the guard has counted them since it started."""
    answer = httpx.get(f"http://127.0.0.1:{PORT}/metrics", headers={"authorization": f"Bearer {auditor}"})
    answer.raise_for_status()
    seconds, asked = {}, 0.0
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if sample.name == "redoubt_step_seconds_sum":
                seconds[sample.labels["step"]] = sample.value
            if sample.name == "redoubt_batch_requests_sum":
                asked = sample.value
    return {step: 1e6 * value / asked for step, value in seconds.items()}


def ground() -> tuple[Path, dict[str, list[str]]]:
    """The policy, and keys."""
    install()
    policy = prepare()
    store = store_of(policy)
    remember(store)
    keys = new_keys(store)
    store.close()
    return policy, keys


def patiences(settings: list[float], rounds: int, seconds: int) -> None:
    """The guard with each patience in turn, several times: what its default should be."""
    policy, keys = ground()
    files = requests(keys["client"])
    for number in range(rounds):
        for setting in settings:
            with serving(guard(policy, "--patience", str(setting))):
                load(*files, WARM_SECONDS)
                print(number, f"patience {setting:g} ms", load(*files, seconds), flush=True)


def main(rounds: int, seconds: int) -> None:
    """All of them in turn, several times."""
    policy, keys = ground()
    files = requests(keys["client"])
    ways = {"guard": guard(policy), "bare": bare(policy), "mlserver-0": mlserver(0), "mlserver-1": mlserver(1)}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    taken: list[dict[str, float]] = []
    for number in range(rounds):
        for name, command in ways.items():
            with serving(command):
                load(*files, WARM_SECONDS)
                runs[name].append(load(*files, seconds))
                if name == "guard":
                    taken.append(steps(keys["auditor"][0]))
            print(number, name, runs[name][-1], flush=True)
        write("guard_load", summary(runs, taken, seconds))


def summary(runs: dict[str, list[dict[str, Any]]], taken: list[dict[str, float]], seconds: int) -> dict[str, Any]:
    """Medians, and ratios within each round."""
    best = max(("mlserver-0", "mlserver-1"), key=lambda name: _median(runs[name], "per_second"))

    def ratio(key: str, other: str) -> dict[str, float]:
        return spread([mine[key] / theirs[key] for mine, theirs in zip(runs["guard"], runs[other], strict=True)])

    return {
        "connections": CONNECTIONS,
        "seconds": seconds,
        "stored": STORED,
        "mlserver": best,
        "per_second_to_bare": ratio("per_second", "bare"),
        "p99_to_bare": ratio("p99_ms", "bare"),
        "per_second_to_mlserver": ratio("per_second", best),
        "median": {
            name: {key: _median(each, key) for key in ("per_second", "p50_ms", "p99_ms")} for name, each in runs.items()
        },
        "step_us": {step: statistics.median(each[step] for each in taken) for step in sorted(taken[0])},
        "runs": runs,
    }


def _median(runs: list[dict[str, Any]], key: str) -> float:
    return statistics.median(each[key] for each in runs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--patience", type=float, nargs="+", metavar="MS")
    asked = parser.parse_args()
    if asked.patience:
        patiences(asked.patience, asked.rounds, asked.seconds)
    else:
        main(asked.rounds, asked.seconds)
