"""The two models of the bench and their assessment: train, harden, assess.  Each step is left out once it is done.

python bench/mnist.py [train] [harden] [assess-plain] [assess-hardened]
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch

from common import HOME, MNIST, POLICIES, model_of, policy_of, read, write
from redoubt.data import load_data
from redoubt.games import measured
from redoubt.models.base import Face
from redoubt.records import DataSource

EPOCHS = 12
HELD_OUT = 5000


def prepare() -> None:
    """Policy and factory lie side by side in a folder that what they make can go to."""
    MNIST.mkdir(parents=True, exist_ok=True)
    for name in ("mnist.yaml", "mnist_model.py"):
        shutil.copy(Path(__file__).with_name(name), MNIST / name)


def train() -> None:
    """The plain model, by the loop in `mnist_model.py`."""
    sys.path.insert(0, str(MNIST))
    import mnist_model

    file = policy_of("plain")
    source = file.policy.data.train
    if source is None:
        raise SystemExit("mnist.yaml names no training data")
    data = load_data(source, Face((1, 28, 28), 0.0, 1.0, 10), file.base, file.place)
    torch.set_num_threads(1)  # its batches are too small for two to pay
    begin = time.perf_counter()
    held_out = mnist_model.train(data.x, data.y, MNIST / "model.safetensors", epochs=EPOCHS, held_out=HELD_OUT)
    seconds = time.perf_counter() - begin
    write("train", {"seconds": seconds, "epochs": EPOCHS, "held_out": held_out, "test": clean_accuracy("plain")})


def harden() -> None:
    """The hardened model, by the command that users run."""
    seconds = _redoubt("harden", POLICIES["plain"])
    history = json.loads((MNIST / "mnist.hardened" / "hardened.json").read_text())["curve"]
    recipe = policy_of("plain").policy.harden
    write(
        "harden",
        {
            "seconds": seconds,
            "recipe": recipe.model_dump(mode="json") if recipe else {},
            "history": history,
            "test": clean_accuracy("hardened"),
        },
    )


def assess(which: str) -> None:
    """All requirements of one model, by the command that users run."""
    policy = POLICIES[which]
    folder = HOME / "evidence" / which
    seconds = _redoubt("assess", policy, "--output", str(folder))
    evidence = json.loads((folder / "evidence.json").read_text())
    for requirement in evidence["requirements"]:
        del requirement["examples"]
    timings = json.loads((folder / "timings.json").read_text())
    write(f"assess-{which}", {"seconds": seconds, "evidence": evidence, "timings": timings})


def clean_accuracy(which: str) -> dict[str, float]:
    """On all 10,000 test images, with its 95 % interval."""
    model, file = model_of(which), policy_of(which)
    data = load_data(DataSource(source=file.policy.data.test.source), model.face, file.base, file.place)
    right = sum(
        int((model.query(x).labels == y).sum()) for x, y in zip(data.x.split(1000), data.y.split(1000), strict=True)
    )
    found = measured("clean_accuracy", right, len(data.y))
    return {"right": right, "of": len(data.y), "low": found.interval.low, "high": found.interval.high}


def _redoubt(verb: str, policy: Path, *more: str) -> float:
    """Run a command of Redoubt; its seconds.  `assess` ends with 1 or 2 where a requirement does not hold."""
    begin = time.perf_counter()
    code = subprocess.run([sys.executable, "-m", "redoubt", verb, str(policy), *more], check=False).returncode
    if code not in ((0, 1, 2) if verb == "assess" else (0,)):
        raise SystemExit(f"redoubt {verb} {policy} ended with exit code {code}")
    return time.perf_counter() - begin


STEPS = {
    "train": train,
    "harden": harden,
    "assess-plain": lambda: assess("plain"),
    "assess-hardened": lambda: assess("hardened"),
}

if __name__ == "__main__":
    prepare()
    torch.manual_seed(0)
    for step in sys.argv[1:] or STEPS:
        if read(step) is None:
            print(f"bench: {step}", flush=True)
            STEPS[step]()
