"""Private training on features that were learnt from public data: Fashion-MNIST for MNIST, and the reverse.

python bench/private.py public [--sets mnist fashion_mnist]

Beside scattering features, alone and together with them, at epsilon 3 and one course for all.
How deep the public features are taken is chosen on the last 10,000 private training images, training on the other
50,000 for the same epsilon.  What is measured is kept.
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
COURSE = Course(2048, 300, 4.0)
DEPTHS = (2, 3)
WAYS = ("scattering", "public", "both")
PUBLIC_GROUPS = 16  # four channels each; scattering has three
EPOCHS = 3
SEEDS = (0,)


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


def features(name: str, part: str, way: str, public: PublicFeatures | None) -> tuple[Tensor, Tensor]:
    """Normalised row by row, `[N, D]`, and labels."""
    if public is None:
        return normalised(name, part, GROUPS)
    x, y = images(name, part)
    own = group_norm(public(x), PUBLIC_GROUPS).flatten(1)
    return (own if way == "public" else torch.cat([normalised(name, part, GROUPS)[0], own], dim=1)), y


def depth(name: str) -> int:
    """How many layers the features are taken behind: what did best, by themselves, on held-out training images."""
    done = read("private_public_search") or []
    for layers in DEPTHS:
        key = {"set": name, "layers": layers, **dataclasses.asdict(COURSE)}
        if any(key.items() <= row.items() for row in done):
            continue
        x, y = features(name, "train", "public", learnt(name, layers))
        kept = len(y) - HELD_OUT
        accuracy, _ = trained(x[:kept], y[:kept], COURSE, COURSE.plan(kept, TARGET), 0)
        done = [old for old in done if (old["set"], old["layers"]) != (name, layers)]
        done.append({**key, "held out": accuracy(x[kept:], y[kept:])})
        print("bench: public, depth,", done[-1], flush=True)
        write("private_public_search", done)
    found = max((row for row in done if row["set"] == name), key=lambda row: float(row["held out"]))
    return int(found["layers"])


def measure_public(names: list[str]) -> None:
    """Accuracy on the test images."""
    for name, way in itertools.product(names, WAYS):
        done = read("private_public") or []
        key = {"set": name, "way": way, **dataclasses.asdict(COURSE)}
        if any(key.items() <= row.items() for row in done):
            continue
        layers = 0 if way == "scattering" else depth(name)
        public = learnt(name, layers) if layers else None
        (x, y), (test, truth) = (features(name, part, way, public) for part in ("train", "test"))
        plan = COURSE.plan(len(y), TARGET)
        accuracies, seconds = [], []
        for seed in SEEDS:
            began = time.process_time()
            accuracy, events = trained(x, y, COURSE, plan, seed)
            seconds.append(time.process_time() - began)
            accuracies.append(accuracy(test, truth))
        ledger = [*(public.events if public else ()), *events]
        row = {
            **key,
            "layers": layers,
            "features": x.shape[1],
            "noise": plan.noise_multiplier,
            "accuracies": accuracies,
            "seconds": seconds,
            "epsilon": epsilon(ledger, DELTA),
            "ledger": [event.model_dump(mode="json") for event in ledger],
        }
        print(f"bench: public, {name}, {way}: {statistics.mean(accuracies):.4f}", row, flush=True)
        write("private_public", [*(old for old in done if (old["set"], old["way"]) != (name, way)), row])
