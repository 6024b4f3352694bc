"""Private training on features that were learnt from public data: Fashion-MNIST for MNIST, and the reverse.

python bench/private.py public [--sets mnist fashion_mnist]

Beside scattering features, alone and together with them, at epsilon 3 and one course for all.  How deep the public
features are taken and the learning rate are chosen on the last 10,000 private training images, training on the other
50,000 for the same epsilon.  What is measured is kept.
"""

import itertools
import os
import statistics
import time
from pathlib import Path
from typing import Any

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
COURSES = (Course(2048, 300, 2.0), Course(2048, 300, 4.0))
WAYS = (("scattering", 0), ("public", 2), ("public", 3), ("both", 2), ("both", 3))  # and behind how many layers
PUBLIC_GROUPS = 16  # four channels each; scattering has three
EPOCHS = 4
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


def features(name: str, part: str, way: str, public: PublicFeatures | None) -> tuple[Tensor, Tensor]:
    """Normalised row by row, `[N, D]`, and labels."""
    if public is None:
        return normalised(name, part, GROUPS)
    x, y = images(name, part)
    own = group_norm(public(x), PUBLIC_GROUPS).flatten(1)
    return (own if way == "public" else torch.cat([normalised(name, part, GROUPS)[0], own], dim=1)), y


def search(name: str) -> list[dict[str, Any]]:
    """Accuracy on held-out training images, of this set."""
    done = read("private_public_search") or []
    for way, layers in WAYS:
        keys = [
            {"set": name, "way": way, "layers": layers, "batch": course.batch, "learning_rate": course.learning_rate}
            for course in COURSES
        ]
        if all(any(key.items() <= row.items() for row in done) for key in keys):
            continue
        x, y = features(name, "train", way, learnt(name, layers) if layers else None)
        kept = len(y) - HELD_OUT
        for key, course in zip(keys, COURSES, strict=True):
            if any(key.items() <= row.items() for row in done):
                continue
            accuracy, _ = trained(x[:kept], y[:kept], course, course.plan(kept, TARGET), 0)
            done.append({**key, "held out": accuracy(x[kept:], y[kept:])})
            print("bench: public, search,", done[-1], flush=True)
            write("private_public_search", done)
    return [row for row in done if row["set"] == name]


def measure_public(names: list[str]) -> None:
    """Accuracy on the test images, each way as it did best on held-out ones."""
    for name, way in itertools.product(names, ("scattering", "public", "both")):
        done = read("private_public") or []
        if any((row["set"], row["way"]) == (name, way) for row in done):
            continue
        best = max((row for row in search(name) if row["way"] == way), key=lambda row: float(row["held out"]))
        course = next(each for each in COURSES if each.learning_rate == best["learning_rate"])
        public = learnt(name, best["layers"]) if best["layers"] else None
        (x, y), (test, truth) = (features(name, part, way, public) for part in ("train", "test"))
        plan = course.plan(len(y), TARGET)
        accuracies, seconds = [], []
        for seed in SEEDS:
            began = time.process_time()
            accuracy, events = trained(x, y, course, plan, seed)
            seconds.append(time.process_time() - began)
            accuracies.append(accuracy(test, truth))
        ledger = [*(public.events if public else ()), *events]
        row = {
            **best,
            "steps": course.steps,
            "features": x.shape[1],
            "noise": plan.noise_multiplier,
            "accuracies": accuracies,
            "seconds": seconds,
            "epsilon": epsilon(ledger, DELTA),
            "ledger": [event.model_dump(mode="json", exclude_defaults=True) for event in ledger],
        }
        print(f"bench: public, {name}, {way}: {statistics.mean(accuracies):.4f}", row, flush=True)
        write("private_public", [*done, row])
