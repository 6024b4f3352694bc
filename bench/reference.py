"""Our APGD beside the reference implementation, pyautoattack: same model, images, radius and number of steps.

python bench/reference.py [--images N] [--seeds N]
"""

import argparse
import statistics
import time
from typing import Any

import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from torch import Tensor, nn

from common import images, model_of, read, write
from redoubt.attacks.evasion import APGD, EvasionAttack, TargetedAPGD
from redoubt.games import measured, play_round
from redoubt.models import TorchModel
from redoubt.perturb import L1Ball, L2Ball, LinfBall, PerturbationSet
from redoubt.records import Access, Budget

BATCH = 250
STEPS = 100
SETS: tuple[tuple[str, str, float, int], ...] = (  # model, norm, radius, seeds
    ("hardened", "Linf", 0.3, 2),
    ("plain", "Linf", 0.1, 4),
    ("hardened", "L2", 2.0, 1),
    ("plain", "L2", 1.0, 1),
    ("hardened", "L1", 10.0, 1),
    ("plain", "L1", 10.0, 1),
)
BALLS = {"Linf": LinfBall, "L2": L2Ball, "L1": L1Ball}


class Counting(nn.Module):
    """A module that counts the examples it is asked about, with and without gradient."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.forwards = 0
        self.backwards = 0

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.module(x)
        self.forwards += len(x)
        self.backwards += len(x) if logits.requires_grad else 0
        return logits


def ours(model: TorchModel, attack: EvasionAttack, x: Tensor, y: Tensor, within: PerturbationSet, seed: int) -> Any:
    """Fooled `[N]`, passes per example and seconds of our attack, as the game plays it."""
    rng = torch.Generator().manual_seed(seed)
    begin, fooled, passes = time.perf_counter(), [], 0
    for a, b in zip(x.split(BATCH), y.split(BATCH), strict=True):
        played = play_round(model, attack, a, b, within, Access.GRADIENTS, Budget(), rng)
        if played.broke:
            raise SystemExit(played.broke)
        fooled.append(played.fooled)
        passes += int(played.meter.passes.sum())
    return torch.cat(fooled), passes / len(x), time.perf_counter() - begin


def theirs(model: TorchModel, name: str, x: Tensor, y: Tensor, within: PerturbationSet, norm: str, seed: int) -> Any:
    """The same of the reference, with the settings of AutoAttack's standard version but one restart.

    For L1 the reference runs its attack in three stages of falling radius, as AutoAttack does there.  Its points are
    judged like ours: brought into the set, and shown to the model again.
    """
    counting = Counting(model.module)
    radius = within.radius  # type: ignore[attr-defined]
    begin, fooled = time.perf_counter(), []
    kind = APGDAttack if name == "apgd-ce" else APGDAttack_targeted
    attack = kind(counting, n_iter=STEPS, norm=norm, n_restarts=1, eps=radius, seed=seed, use_largereps=norm == "L1")
    for number, (a, b) in enumerate(zip(x.split(BATCH), y.split(BATCH), strict=True)):
        attack.seed = seed * 1000 + number
        point = within.project(a, attack.perturb(a, b).detach())
        fooled.append(model.query(point).labels != b)
    return torch.cat(fooled), (counting.forwards + counting.backwards) / len(x), time.perf_counter() - begin


def compare(which: str, norm: str, radius: float, seeds: int, take: int | None) -> list[dict[str, Any]]:
    """One model and set: a row for each of apgd-ce and apgd-t."""
    model, data = model_of(which), images(which, take)
    right = model.query(data.x).labels == data.y
    x, y, total = data.x[right], data.y[right], len(data.y)
    within = BALLS[norm](radius, 0.0, 1.0)
    rows: list[dict[str, Any]] = []
    for name, attack in (("apgd-ce", APGD("ce", steps=STEPS)), ("apgd-t", TargetedAPGD(steps=STEPS))):
        row: dict[str, Any] = {"model": which, "norm": norm, "radius": radius, "attack": name, "images": total}
        fell: dict[str, list[Tensor]] = {"ours": [], "reference": []}
        runs: dict[str, list[tuple[float, float]]] = {"ours": [], "reference": []}
        for seed in range(seeds):
            for who in ("ours", "reference") if seed % 2 == 0 else ("reference", "ours"):
                if who == "ours":
                    fooled, passes, seconds = ours(model, attack, x, y, within, seed)
                else:
                    fooled, passes, seconds = theirs(model, name, x, y, within, norm, seed)
                fell[who].append(fooled)
                runs[who].append((passes, seconds))
        for who, found in fell.items():
            standing = [int((~fooled).sum()) for fooled in found]
            interval = measured("robust_accuracy", standing[0], total).interval
            row[who] = {
                "robust_accuracy": [count / total for count in standing],
                "interval": [interval.low, interval.high],
                "passes": statistics.mean(passes for passes, _ in runs[who]),
                "seconds": statistics.mean(seconds for _, seconds in runs[who]),
            }
        means = [statistics.mean(row[who]["robust_accuracy"]) for who in ("ours", "reference")]
        row["difference_points"] = 100 * (means[0] - means[1])
        row["only_ours"] = int((fell["ours"][0] & ~fell["reference"][0]).sum())
        row["only_reference"] = int((fell["reference"][0] & ~fell["ours"][0]).sum())
        print(
            f"bench: reference, {which} {norm} {radius:g} {name}: ours {means[0]:.2%}, reference {means[1]:.2%}; "
            f"passes {row['ours']['passes']:.0f}, {row['reference']['passes']:.0f}; "
            f"seconds {row['ours']['seconds']:.1f}, {row['reference']['seconds']:.1f}",
            flush=True,
        )
        rows.append(row)
    return rows


def main() -> None:
    """Every set, with every attack."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int)
    parser.add_argument("--seeds", type=int, help="at most")
    asked = parser.parse_args()
    results: list[dict[str, Any]] = []
    for which, norm, radius, seeds in SETS:
        kept = f"reference/{which}-{norm}-{radius:g}-{asked.images}-{asked.seeds}"
        if read(kept) is None:
            write(kept, compare(which, norm, radius, min(seeds, asked.seeds or seeds), asked.images))
        results += read(kept)
    write("reference", results)


if __name__ == "__main__":
    main()
