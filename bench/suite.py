"""The standard suite beside AutoAttack: the same models, images and sets; robust accuracy, passes and processor time.

python bench/suite.py [--images N] [--seeds N] [--reference-seeds N] [MODEL ...]

Every run is kept by itself, so that a kill loses one run at most.  Seconds are those of the processor, on one thread,
which what else the machine does changes little.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pyautoattack import AutoAttack
from torch import Tensor

from common import HOME, read, write
from redoubt.assess.suite import choose
from redoubt.games import play_round
from redoubt.models import TorchModel
from redoubt.perturb import NormBall, PerturbationSet
from redoubt.records import Access, Budget
from reference import Counting
from zoo import STANDARD, ZOO, Member, dataset, load, member

BATCH = 250  # the size of one task of `redoubt assess`
NORMS = {"LinfBall": "Linf", "L2Ball": "L2", "L1Ball": "L1"}


def ours(model: TorchModel, x: Tensor, y: Tensor, within: PerturbationSet, seed: int) -> dict[str, Any]:
    """The standard suite, as `redoubt assess` plays it against whoever has the weights."""
    standing = torch.ones(len(x), dtype=torch.bool)
    passes = torch.zeros(len(x), dtype=torch.int64)
    fell = torch.zeros(len(x), dtype=torch.int64)  # passes to each one's fall
    stages: list[dict[str, Any]] = []
    begin = time.process_time()
    for number, bout in enumerate(choose(within, Access.GRADIENTS, None)):
        for rows in standing.nonzero().squeeze(1).split(BATCH):
            rng = torch.Generator().manual_seed(seed * 1000 + number * 100 + int(rows[0]) // BATCH)
            played = play_round(model, bout.attack, x[rows], y[rows], within, Access.GRADIENTS, Budget(), rng)
            if played.broke:
                raise SystemExit(played.broke)
            passes[rows] += played.meter.passes
            fell[rows[played.fooled]] = passes[rows[played.fooled]]
            standing[rows[played.fooled]] = False
        stages.append(
            {
                "name": bout.attack.name,
                "standing": int(standing.sum()),
                "passes": int(passes.sum()),
                "seconds": time.process_time() - begin,
            }
        )
    return {"stages": stages, "fell": sorted(fell[~standing].tolist()), "fooled": (~standing).tolist()}


def theirs(model: TorchModel, x: Tensor, y: Tensor, within: NormBall, seed: int) -> dict[str, Any]:
    """AutoAttack, standard version; its points judged like ours."""
    counting = Counting(model.module)
    stages: list[dict[str, Any]] = []
    standing = torch.ones(len(x), dtype=torch.bool)
    begin = time.process_time()
    attack = AutoAttack(counting, norm=NORMS[type(within).__name__], eps=within.radius, seed=seed, version="standard")
    attack.verbose = False
    names = list(attack.attacks_to_run)
    for name in names:
        attack.attacks_to_run = [name]
        rows = standing.nonzero().squeeze(1)
        if len(rows):
            point = within.project(x[rows], attack.run_standard_evaluation(x[rows], y[rows], batch_size=BATCH)[0])
            standing[rows] = model.query(point.detach()).labels == y[rows]
        stages.append(
            {
                "name": name,
                "standing": int(standing.sum()),
                "passes": counting.forwards + counting.backwards,
                "seconds": time.process_time() - begin,
            }
        )
    return {"stages": stages, "fooled": (~standing).tolist()}


def compare(one: Member, images: int, runs: dict[str, tuple[Callable[..., dict[str, Any]], int]]) -> None:
    """All seeds of one model."""
    model, data = load(one.name), dataset(one.data, "test", images)
    right = model.query(data.x).labels == data.y
    x, y = data.x[right], data.y[right]
    for who, (run, seeds) in runs.items():
        for seed in range(seeds):
            kept = f"suite/{one.name}-{images}-{who}-{seed}"
            if read(kept) is None:
                found = run(model, x, y, one.within, seed) | {"images": len(data.y), "clean": len(y)}
                write(kept, found)
                last = found["stages"][-1]
                print(
                    f"bench: {one.name} {who} seed {seed}: {last['standing'] / images:.1%} robust, "
                    f"{last['passes'] / images:.0f} passes per image, {last['seconds']:.0f} s",
                    flush=True,
                )


def judge() -> None:
    """What `redoubt assess` says of the model that FGSM trained: by PGD alone, and by the standard suite."""
    folder = HOME / "fast"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("fast.yaml", "mnist_model.py"):
        shutil.copy(Path(__file__).with_name(name), folder / name)
    shutil.copy(ZOO / "fast" / "model.safetensors", folder / "model.safetensors")
    command = [sys.executable, "-m", "redoubt", "assess", str(folder / "fast.yaml"), "--workers", "1"]
    if subprocess.run(command, check=False).returncode not in (0, 1, 2):
        raise SystemExit("bench: the assessment of the fast model failed")
    evidence = json.loads((folder / "fast.evidence" / "evidence.json").read_text())
    kept = ("id", "verdict", "reason", "measures", "signs")
    write("suite_verdicts", [{key: item[key] for key in kept} for item in evidence["requirements"]])


def main() -> None:
    """Every model asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=list(STANDARD))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--reference-seeds", type=int, default=2)
    asked = parser.parse_args()
    if read("suite_verdicts") is None:
        judge()
    torch.set_num_threads(1)
    runs = {"autoattack": (theirs, asked.reference_seeds), "redoubt": (ours, asked.seeds)}
    for name in asked.models:
        compare(member(name), asked.images, runs)


if __name__ == "__main__":
    main()
