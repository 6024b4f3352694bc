"""Membership on over-fitted and on privately trained models; shadow models side by side against one by one.

python bench/membership.py [--sets location30 fashion_mnist] [--models 16] [--records N] [--targets 4] [--speed]

Models are trained on random halves of the records, each record in half of them.  Some of them are targets in turn, each
attacked with all others as shadow models: so they are trained alike, which favours the adversary.  What is trained is
kept in `.bench/membership`; killed, it goes on.  One thread.
"""

import argparse
import dataclasses
import io
import os
import statistics
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from common import HOME, read, write
from redoubt.assess.membership.plan import MEMBERSHIP_SUITE
from redoubt.attacks.membership import Asked, Shadows, View, greatest, halves, scaled_confidence
from redoubt.attacks.membership.shadows import TorchTrainer
from redoubt.bounds.privacy.calibrate import noise_for
from redoubt.bounds.privacy.events import PoissonGaussian
from redoubt.data.idx import read_idx
from redoubt.games.membership import Told, membership_measures
from redoubt.harden.private.linear import train_linear
from redoubt.harden.private.plan import Plan
from redoubt.models import Face
from redoubt.models.adapter import Adapter
from redoubt.records import Access, ShadowRecipe

KEPT = HOME / "membership"
SETS = ("location30", "fashion_mnist")
KINDS = ("over-fitted", "private")
DELTA, EPSILON = 1e-5, 3.0
GROUP = 8
Scores = Callable[[Tensor, Tensor, Tensor, Sequence[int]], Tensor]


def records_of(name: str, many: int) -> tuple[Tensor, Tensor, int]:
    """Inputs `[N, D]` in 0..1, labels, and how many classes; an even number of records, drawn with seed 0."""
    root = Path(os.environ["REDOUBT_DATA"])
    if name == "location30":
        with tarfile.open(root / "location30/dataset_location.tgz") as archive:
            member = next(one for one in archive.getmembers() if one.isfile())
            lines = io.TextIOWrapper(archive.extractfile(member)).read().replace('"', "").splitlines()
        table = np.array([line.split(",") for line in lines if line], dtype=np.float32)
        x, y, classes = torch.from_numpy(table[:, 1:]), torch.from_numpy(table[:, 0]).long() - 1, 30
    else:
        raw = read_idx(root / name, "train")
        x, y = torch.from_numpy(np.array(raw.x)).float().div(255).flatten(1), torch.from_numpy(np.array(raw.y)).long()
        classes = 10
    rows = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[: min(many, len(y)) // 2 * 2]
    return x[rows], y[rows], classes


def over_fitted(features: int, classes: int, epochs: int) -> TorchTrainer:
    """A network with one hidden layer, trained until it knows its half by heart."""

    def build(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(features, 128), nn.Tanh(), nn.Linear(128, classes))

    recipe = ShadowRecipe(epochs=epochs, batch=64, learning_rate=1e-3)
    return TorchTrainer(build, Adapter(Face((features,), 0.0, 1.0, classes)), recipe, "bench")


def private(classes: int) -> Scores:
    """Softmax regression by DP-SGD on rows of length 1, at epsilon 3."""

    def scores(x: Tensor, y: Tensor, inside: Tensor, seeds: Sequence[int]) -> Tensor:
        unit = torch.nn.functional.normalize(x, dim=1)
        steps, rate = 200, min(1.0, 512 / int(inside[0].sum()))
        noise = noise_for(
            EPSILON, DELTA, lambda sigma: [PoissonGaussian(rate=rate, noise_multiplier=sigma, steps=steps)]
        )
        plan = Plan(rate, noise, steps, 1.0, 4.0)
        found = []
        for mine, seed in zip(inside, seeds, strict=True):
            model = train_linear(unit[mine], y[mine], classes, plan, insecure_seed=seed)
            found.append(model.logits(unit))
        return torch.stack(found)

    return scores


@dataclasses.dataclass(frozen=True)
class Trained:
    """What M models say: as `Shadows`, and whether they are right, bool `[M, N]`."""

    shadows: Shadows
    right: Tensor
    seconds: float


def trained(key: str, scores: Scores, x: Tensor, y: Tensor, models: int) -> Trained:
    """Train in groups; what lies in the cache is not trained again."""
    inside, parts, seconds = halves(models, len(y), 0), [], 0.0
    KEPT.mkdir(parents=True, exist_ok=True)
    for first in range(0, models, GROUP):
        path = KEPT / f"{key}-{first}.safetensors"
        if not path.exists():
            began = time.process_time()
            mine = inside[first : first + GROUP]
            said = scores(x, y, mine, [1000 + first + at for at in range(len(mine))])
            took = torch.tensor(time.process_time() - began)
            tensors = {"confidence": scaled_confidence(said, y).float(), "greatest": greatest(said).float()}
            tensors |= {"right": said.argmax(2) == y, "seconds": took}
            part = path.with_suffix(".part")
            part.write_bytes(safetensors.torch.save(tensors))
            part.rename(path)
            print(f"bench: {path.name}, {float(took):.1f} s", flush=True)
        parts.append(safetensors.torch.load(path.read_bytes()))
        seconds += float(parts[-1].pop("seconds"))
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    shadows = Shadows(joined["confidence"].double(), joined["greatest"].double(), inside)
    return Trained(shadows, joined["right"], seconds)


def attack(found: Trained, y: Tensor, target: int) -> dict[str, list[dict[str, Any]]]:
    """Every strategy that takes scores, against one of the models, all others but its partner being shadow models.

    Its partner, which was trained on just what the target was not, goes too: so every record stays in half of them.
    """
    rest = [at for at in range(len(found.right)) if at // 2 != target // 2]
    own, member = found.shadows, found.shadows.inside[target]
    shadows = Shadows(own.confidence[rest], own.greatest[rest], own.inside[rest])
    asked = Asked(found.right[target][:, None], own.confidence[target][:, None], own.greatest[target])
    rows = {}
    for strategy in MEMBERSHIP_SUITE:
        if strategy.needs is Access.SCORES:
            scores = strategy.scores(View(y, asked, shadows))
            figures = membership_measures(Told(scores[member], scores[~member]))
            rows[strategy.name] = [
                {"measure": one.measure, "value": one.value, "low": one.ends[0], "high": one.ends[1]} for one in figures
            ]
    return rows


def measure(name: str, kind: str, models: int, many: int, targets: int, epochs: int) -> None:
    """One set, one kind of model."""
    x, y, classes = records_of(name, many)
    key = f"{name}-{kind}-{len(y)}-{epochs}"
    scores = over_fitted(x.shape[1], classes, epochs).scores if kind == "over-fitted" else private(classes)
    found = trained(key, scores, x, y, models)
    inside = found.shadows.inside
    attacks = [attack(found, y, 2 * at) for at in range(min(targets, models // 2))]
    row = {
        "set": name,
        "kind": kind,
        "records": len(y),
        "models": models,
        "targets": len(attacks),
        "seconds": found.seconds,
        "inside": float(found.right[inside].double().mean()),
        "outside": float(found.right[~inside].double().mean()),
        "attacks": attacks,
    }
    done = [old for old in read("membership") or [] if (old["set"], old["kind"]) != (name, kind)]
    write("membership", [*done, row])
    lira = [{one["measure"]: round(one["value"], 4) for one in each["lira"]} for each in attacks]
    print(f"bench: {name}, {kind}: right {row['inside']:.1%} in, {row['outside']:.1%} out; LiRA", lira, flush=True)


def compare_speed(rounds: int = 3, epochs: int = 3) -> None:
    """Processor seconds for 16 models of Location-30, side by side and one by one, in turn."""
    x, y, classes = records_of("location30", 10**9)
    inside, seeds = halves(16, len(y), 0), list(range(16))
    base = over_fitted(x.shape[1], classes, epochs)
    seconds: dict[str, list[float]] = {"loop": [], "batched": []}
    for _ in range(rounds):
        for way in seconds:
            began = time.process_time()
            dataclasses.replace(base, batched=way == "batched").scores(x, y, inside, seeds)
            seconds[way].append(time.process_time() - began)
    middle = {way: statistics.median(times) for way, times in seconds.items()}
    write("membership_speed", {"models": 16, "records": len(y), "epochs": epochs, "rounds": rounds, "seconds": middle})
    print("bench: speed,", middle, f"{middle['loop'] / middle['batched']:.1f}x", flush=True)


def main() -> None:
    """What is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--models", type=int, default=64)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--targets", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--speed", action="store_true", help="only the comparison of speed")
    asked = parser.parse_args()
    if asked.speed or read("membership_speed") is None:
        compare_speed()
    if not asked.speed:
        for name in asked.sets:
            for kind in asked.kinds:
                measure(name, kind, asked.models, asked.records, asked.targets, asked.epochs)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
