"""Private training on features that were learnt from public data: Fashion-MNIST for MNIST, and the reverse.

python bench/private.py public [--sets mnist fashion_mnist]

Beside scattering features, alone and together with them, at epsilon 3.  The learning rate, how deep the public features
are taken, and what they weigh beside scattering are chosen on the last 10,000 private training images, training on the
other 50,000 for the same epsilon.  What is measured is kept.
"""

import dataclasses
import itertools
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common import read, write
from private import DELTA, FEATURES, GROUPS, HELD_OUT, Course, normalised, trained
from redoubt.bounds.privacy.accountants import epsilon
from redoubt.data.idx import read_idx
from redoubt.harden.private.normalise import group_norm
from redoubt.harden.private.public import PublicCourse, PublicFeatures, learn_features

PUBLIC = {"mnist": "fashion_mnist", "fashion_mnist": "mnist"}
TARGET = 3.0
BATCH, STEPS, RATES = 2048, 300, (2.0, 4.0, 8.0)
MORE_RATES = (16.0,)  # for scattering alone: its rows are shorter than both together, so the same rate moves it less
DEPTHS, WEIGHTS = (2, 3), (1.0, 0.5)
WAYS = ("scattering", "public", "both")
PUBLIC_GROUPS = 16  # four channels each; scattering has three
EPOCHS = 3
SEEDS = (0, 1)


def images(name: str, part: str) -> tuple[Tensor, Tensor]:
    """`[N, 1, 28, 28]` in 0..1, and labels."""
    raw = read_idx(Path(os.environ["REDOUBT_DATA"]) / name, part)
    return torch.from_numpy(np.array(raw.x)).float().div(255).unsqueeze(1), torch.from_numpy(np.array(raw.y)).long()


def learnt(name: str, layers: int) -> PublicFeatures:
    """Features for the private set of this name, from its public one."""
    public = PUBLIC[name]
    began = time.process_time()
    course = PublicCourse(epochs=EPOCHS, layers=layers)
    found = learn_features(*images(public, "train"), 10, public, FEATURES, course)
    print(f"bench: features from {public}, {layers} layers, {time.process_time() - began:.0f} s", flush=True)
    return found


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which features, behind how many layers of the public network, times what, and the private learning rate."""

    way: str
    layers: int
    weight: float
    learning_rate: float

    def course(self) -> Course:
        """The private training."""
        return Course(BATCH, STEPS, self.learning_rate)


def features(name: str, part: str, chosen: Choice, public: PublicFeatures | None) -> tuple[Tensor, Tensor]:
    """Normalised row by row, so no longer than the root of their number, `[N, D]`, and labels."""
    if public is None:
        return normalised(name, part, GROUPS)
    x, y = images(name, part)
    own = group_norm(public(x), PUBLIC_GROUPS).flatten(1).mul_(chosen.weight)
    return (own if chosen.way == "public" else torch.cat([normalised(name, part, GROUPS)[0], own], dim=1)), y


def choices(name: str, way: str) -> list[Choice]:
    """What is tried; beside scattering, public features are as deep as is best for them alone."""
    if way == "scattering":
        return [Choice(way, 0, 1.0, rate) for rate in RATES + MORE_RATES]
    if way == "public":
        return [Choice(way, layers, 1.0, rate) for layers, rate in itertools.product(DEPTHS, RATES)]
    layers = best(name, "public").layers
    return [Choice(way, layers, weight, rate) for weight, rate in itertools.product(WEIGHTS, RATES)]


def best(name: str, way: str) -> Choice:
    """What does best on held-out training images."""
    found: dict[Choice, float] = {}
    given: tuple[tuple[int, float], tuple[Tensor, Tensor]] | None = None
    for chosen in choices(name, way):
        done = read("private_public_search") or []
        key = {"set": name, **dataclasses.asdict(chosen)}
        row = next((old for old in done if key.items() <= old.items()), None)
        if row is None:
            if given is None or given[0] != (chosen.layers, chosen.weight):
                public = learnt(name, chosen.layers) if chosen.layers else None
                given = (chosen.layers, chosen.weight), features(name, "train", chosen, public)
            x, y = given[1]
            kept, course = len(y) - HELD_OUT, chosen.course()
            accuracy, _ = trained(x[:kept], y[:kept], course, course.plan(kept, TARGET), 0)
            row = {**key, "held out": accuracy(x[kept:], y[kept:])}
            print("bench: public, search,", row, flush=True)
            write("private_public_search", [*done, row])
        found[chosen] = float(row["held out"])
    return max(found, key=lambda chosen: found[chosen])


def measure_public(names: list[str]) -> None:
    """Accuracy on the test images."""
    for name, way in itertools.product(names, WAYS):
        chosen = best(name, way)
        key, course = {"set": name, **dataclasses.asdict(chosen)}, chosen.course()
        done = read("private_public") or []
        if any(key.items() <= row.items() for row in done):
            continue
        public = learnt(name, chosen.layers) if chosen.layers else None
        (x, y), (test, truth) = (features(name, part, chosen, public) for part in ("train", "test"))
        plan = course.plan(len(y), TARGET)
        accuracies, seconds = [], []
        for seed in SEEDS:
            began = time.process_time()
            accuracy, events = trained(x, y, course, plan, seed)
            seconds.append(time.process_time() - began)
            accuracies.append(accuracy(test, truth))
        ledger = [*(public.events if public else ()), *events]
        row = {
            **key,
            "batch": BATCH,
            "steps": STEPS,
            "features": x.shape[1],
            "noise": plan.noise_multiplier,
            "accuracies": accuracies,
            "seconds": seconds,
            "epsilon": epsilon(ledger, DELTA),
            "ledger": [event.model_dump(mode="json") for event in ledger],
        }
        print(f"bench: public, {name}, {way}: {statistics.mean(accuracies):.4f}", row, flush=True)
        write("private_public", [*(old for old in done if (old["set"], old["way"]) != (name, way)), row])
