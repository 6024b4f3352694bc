"""Accuracy against epsilon on MNIST: the linear model on scattering features beside a small network end to end.

python bench/private_curve.py [--epsilons 3 1 2 8]

One seed each.  The settings of both are fixed beforehand and the same for every epsilon; only the noise follows from
it.  The network is that of Papernot et al. 2021 which Tramer and Boneh 2021 trained too, by DP-SGD through opacus; it
has fewer epochs here than there, and its learning rate was not searched.  What is measured is kept.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common import read, write
from private import DELTA, GROUPS, Course, normalised, trained
from redoubt.bounds.privacy.accountants import epsilon
from redoubt.bounds.privacy.calibrate import noise_for
from redoubt.bounds.privacy.events import PoissonGaussian
from redoubt.data.idx import read_idx
from redoubt.harden.private.general import train_general
from redoubt.harden.private.plan import Plan

BATCH, EPOCHS = 1024, 6
COURSE = Course(4096, 300, 4.0)
WAYS = ("linear", "network")


def network() -> nn.Module:
    """Two convolutions and two linear layers, 26,010 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 8, stride=2, padding=2),
        nn.Tanh(),
        nn.MaxPool2d(2, stride=1),
        nn.Conv2d(16, 32, 4, stride=2),
        nn.Tanh(),
        nn.MaxPool2d(2, stride=1),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 32),
        nn.Tanh(),
        nn.Linear(32, 10),
    )


def images(part: str) -> tuple[Tensor, Tensor]:
    """MNIST, `[N, 1, 28, 28]` in 0..1, and labels."""
    raw = read_idx(Path(os.environ["REDOUBT_DATA"]) / "mnist", part)
    return torch.from_numpy(np.array(raw.x)).float().div(255).unsqueeze(1), torch.from_numpy(np.array(raw.y)).long()


def by_network(target: float) -> dict[str, Any]:
    """The network, trained end to end."""
    x, y = images("train")
    rate, steps = BATCH / len(y), EPOCHS * len(y) // BATCH
    noise = noise_for(target, DELTA, lambda sigma: [PoissonGaussian(rate=rate, noise_multiplier=sigma, steps=steps)])
    torch.manual_seed(0)
    module = network()
    began = time.process_time()
    events = train_general(
        module, x, y, Plan(rate, noise, steps, clip=0.1, learning_rate=BATCH / 1024), at_once=512, insecure_seed=0
    )
    seconds = time.process_time() - began
    test, truth = images("test")
    with torch.no_grad():
        right = module.eval()(test).argmax(1) == truth
    return {
        "accuracy": float(right.double().mean()),
        "epsilon": epsilon(events, DELTA),
        "seconds": seconds,
        "batch": BATCH,
        "steps": steps,
    }


def by_linear(target: float) -> dict[str, Any]:
    """The linear model on scattering features."""
    x, y = normalised("mnist", "train", GROUPS)
    began = time.process_time()
    accuracy, events = trained(x, y, COURSE, COURSE.plan(len(y), target), 0)
    seconds = time.process_time() - began
    return {
        "accuracy": accuracy(*normalised("mnist", "test", GROUPS)),
        "epsilon": epsilon(events, DELTA),
        "seconds": seconds,
        "batch": COURSE.batch,
        "steps": COURSE.steps,
    }


def main() -> None:
    """What is not measured yet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epsilons", nargs="+", type=float, default=[3.0, 1.0, 2.0, 8.0])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    asked = parser.parse_args()
    for target in asked.epsilons:
        for way in asked.ways:
            if any((row["way"], row["target"]) == (way, target) for row in read("private_curve") or []):
                continue
            found = by_linear(target) if way == "linear" else by_network(target)
            row = {"way": way, "target": target, **found}
            print("bench: curve,", row, flush=True)
            write("private_curve", [*(read("private_curve") or []), row])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
