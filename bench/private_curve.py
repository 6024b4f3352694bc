"""Accuracy against epsilon on MNIST: the linear model on scattering features beside a small network end to end.

python bench/private_curve.py [--epsilons 3 1 2 8] [--ways linear network]

One seed each.  The settings of both are the same for every epsilon; only the noise follows from it.  The network is
that of Papernot et al. 2021 which Tramer and Boneh 2021 trained too, by DP-SGD through opacus; it has fewer epochs here
than there.  Its learning rate is chosen on the last 10,000 training images, in half of the epochs, at epsilon 2.  What
is measured is kept.
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
from private import DELTA, GROUPS, HELD_OUT, Course, normalised, trained
from redoubt.bounds.privacy.accountants import epsilon
from redoubt.bounds.privacy.calibrate import noise_for
from redoubt.bounds.privacy.events import PoissonGaussian
from redoubt.data.idx import read_idx
from redoubt.harden.private.general import train_general
from redoubt.harden.private.plan import Plan

BATCH, EPOCHS, LEARNING_RATES = 1024, 6, (2.0, 4.0, 8.0)
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


def rate_of_learning() -> float:
    """The learning rate of the network that did best on held-out training images."""
    done: dict[str, float] = read("private_curve_search") or {}
    x, y = images("train")
    kept = len(y) - HELD_OUT
    for rate in LEARNING_RATES:
        if str(rate) not in done:
            module, _ = train_network(x[:kept], y[:kept], 2.0, rate, EPOCHS // 2)
            done[str(rate)] = right_of(module, x[kept:], y[kept:])
            print("bench: curve, learning rate", rate, done[str(rate)], flush=True)
            write("private_curve_search", done)
    return float(max(done, key=lambda rate: done[rate]))


def train_network(
    x: Tensor, y: Tensor, target: float, learning_rate: float, epochs: int
) -> tuple[nn.Module, tuple[PoissonGaussian, ...]]:
    """Trained for epsilon `target`, and what that did."""
    rate, steps = BATCH / len(y), epochs * len(y) // BATCH
    noise = noise_for(target, DELTA, lambda sigma: [PoissonGaussian(rate=rate, noise_multiplier=sigma, steps=steps)])
    torch.manual_seed(0)
    module = network()
    plan = Plan(rate, noise, steps, clip=0.1, learning_rate=learning_rate)
    return module, train_general(module, x, y, plan, at_once=512, insecure_seed=0)


def right_of(module: nn.Module, x: Tensor, y: Tensor) -> float:
    """Accuracy."""
    with torch.no_grad():
        return float((module.eval()(x).argmax(1) == y).double().mean())


def by_network(target: float) -> dict[str, Any]:
    """The network, trained end to end."""
    learning_rate = rate_of_learning()
    began = time.process_time()
    module, events = train_network(*images("train"), target, learning_rate, EPOCHS)
    seconds = time.process_time() - began
    return {
        "accuracy": right_of(module, *images("test")),
        "epsilon": epsilon(events, DELTA),
        "seconds": seconds,
        "batch": BATCH,
        "steps": events[0].steps,
        "learning_rate": learning_rate,
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
        "learning_rate": COURSE.learning_rate,
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
