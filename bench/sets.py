"""Sets beyond norm balls, on the plain MNIST model: turned, mixed, corrupted, patched, and one move for all.

python bench/sets.py [--images N] [--few N] [turn] [mixed] [corruptions] [patch] [universal]

Each part is written as soon as it is measured; parts not named keep what was measured before.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from common import images, model_of, read, write
from redoubt.attacks.evasion import (
    APGD,
    EvasionAttack,
    GridSearch,
    PatchEOT,
    Universal,
    WorstCorruption,
    WorstOfK,
    WorstStart,
)
from redoubt.attacks.evasion.universal import moved
from redoubt.games import clopper_pearson, play_round
from redoubt.models import TorchModel
from redoubt.models.meter import Metered
from redoubt.perturb import Corruptions, LinfBall, Patch, PerturbationSet, Then, Turn, Vote
from redoubt.records import Access, Budget

BATCH, SEED, TARGET = 250, 0, 3
TURN = Turn(30, 3, fill=0.0, high=1.0)


def share(count: int, of: int) -> dict[str, Any]:
    """A proportion and its interval."""
    interval = clopper_pearson(count, of)
    return {"count": count, "of": of, "low": interval.low, "high": interval.high}


def standing(
    model: TorchModel, x: Tensor, y: Tensor, within: PerturbationSet, attacks: list[EvasionAttack]
) -> dict[str, Any]:
    """How many of the images stand after each strategy in turn, of all; each meets survivors only."""
    robust = model.query(x).labels == y
    steps = [{"strategy": "clean", "standing": int(robust.sum()), "passes": 0.0, "seconds": 0.0}]
    for attack in attacks:
        begin, passes, asked = time.perf_counter(), 0, int(robust.sum())
        for rows in robust.nonzero().squeeze(1).split(BATCH):
            rng = Generator().manual_seed(SEED)
            done = play_round(model, attack, x[rows], y[rows], within, Access.GRADIENTS, Budget(), rng)
            robust[rows[done.fooled]] = False
            passes += int(done.meter.passes.sum())
        seconds = time.perf_counter() - begin
        each = passes / max(asked, 1)
        steps.append({"strategy": attack.name, "standing": int(robust.sum()), "passes": each, "seconds": seconds})
    return {"within": str(within), "steps": steps, "robust": share(int(robust.sum()), len(y))}


def turn(model: TorchModel, x: Tensor, y: Tensor, few: int) -> list[dict[str, Any]]:
    """Worst of ten, and the exhaustive grid by itself."""
    return [
        standing(model, x, y, TURN, [WorstOfK(10)]),
        standing(model, x, y, TURN, [GridSearch()]),
        standing(model, x[:few], y[:few], TURN, [APGD("ce", steps=50, restarts=3)]),
    ]


def mixed(model: TorchModel, x: Tensor, y: Tensor, few: int) -> list[dict[str, Any]]:
    """A turn and a ball small enough that neither alone fools most: each alone, then both."""
    some = Turn(10, 1, fill=0.0, high=1.0)
    ball = LinfBall(0.05, 0.0, 1.0)
    x, y = x[:few], y[:few]
    return [
        standing(model, x, y, some, [GridSearch()]),
        standing(model, x, y, ball, [APGD("ce"), APGD("dlr")]),
        standing(model, x, y, Then(some, ball), [WorstStart()]),
        standing(model, x, y, Then(some, ball), [APGD("ce", restarts=3)]),
    ]


def corruptions(model: TorchModel, x: Tensor, y: Tensor, few: int) -> list[dict[str, Any]]:
    """All kinds that grey images have: each alone, then the worst pair."""
    x, y = x[:few], y[:few]
    kinds = ("haze", "brightness", "contrast", "defocus", "motion-blur", "blur")
    kinds += ("shot-noise", "noise", "impulse-noise", "pixelate", "jpeg")
    found = []
    for severity in (1.0, 3.0, 5.0):
        alone = Corruptions(kinds, severity, 0.0, 1.0, at_once=1)
        pairs = Corruptions(kinds, severity, 0.0, 1.0, at_once=2)
        found.append(standing(model, x, y, alone, [GridSearch()]))
        found.append(standing(model, x, y, pairs, [GridSearch()]))
        found.append(standing(model, x, y, pairs, [WorstCorruption()]))
    return found


def patch(model: TorchModel, x: Tensor, y: Tensor, few: int) -> list[dict[str, Any]]:
    """A patch for each image, on fresh placements; and one for all, made on half of the images for the other half."""
    found = []
    for area in (0.05, 0.10, 0.15):
        within = Patch(area, 0.0, 1.0, scale=(0.8, 1.2), rotation=20.0, light=0.1, vote=Vote(20, 0.9))
        some = few // 5
        for target in (None, TARGET):
            fair = (model.query(x).labels == y) & (y != target if target is not None else y >= 0)
            rows = fair.nonzero().squeeze(1)
            mine = rows[:some]
            found.append(_patched(model, x[mine], y[mine], within, PatchEOT(target=target), target))
            found.append(_shared(model, x[rows[: 2 * few]], y[rows[: 2 * few]], within, target))
    return found


def _patched(
    model: TorchModel, x: Tensor, y: Tensor, within: Patch, attack: PatchEOT, target: int | None
) -> dict[str, Any]:
    handle = Metered(model, Access.GRADIENTS, Budget(), len(x))
    point = attack.run(handle, x, y, within, Budget(), Generator().manual_seed(SEED))
    row = {"kind": "one each", "within": str(within), "target": target}
    row["passes"] = float(handle.meter.passes.double().mean())
    return row | _on_fresh_placements(model, x, y, within, within.project(x, point), target)


def _shared(model: TorchModel, x: Tensor, y: Tensor, within: Patch, target: int | None) -> dict[str, Any]:
    half = len(x) // 2
    handle = Metered(model, Access.GRADIENTS, Budget(), half)
    attack = Universal(steps=150, target=target)
    move = attack.find(handle, x[:half], y[:half], within, Budget(), Generator().manual_seed(SEED))
    row = {"kind": "one for all, other images", "within": str(within), "target": target}
    row["passes"] = float(handle.meter.passes.double().mean())
    x, y = x[half:], y[half:]
    return row | _on_fresh_placements(model, x, y, within, moved(x, within, move), target)


def _on_fresh_placements(
    model: TorchModel, x: Tensor, y: Tensor, within: Patch, point: Tensor, target: int | None
) -> dict[str, Any]:
    """Images fooled in at least half, and in nine tenths, of their placements; and the share of all placements."""
    nature, hits = Generator().manual_seed(12345), torch.zeros(len(x))
    for _ in range(within.vote.draws):
        labels = model.query(within.draw(x, point, nature)).labels
        hits += (labels != y) if target is None else (labels == target)
    draws = within.vote.draws
    fooled = {f"{part:g}": share(int((hits >= part * draws).sum()), len(x)) for part in (0.5, 0.9)}
    return {"fooled": fooled, "placements": float(hits.mean() / draws)}


def universal(model: TorchModel, x: Tensor, y: Tensor, _: int) -> list[dict[str, Any]]:
    """One move in a ball, made on half of the images: its success on these and on the others."""
    right = (model.query(x).labels == y).nonzero().squeeze(1)
    x, y = x[right], y[right]
    half, found = len(x) // 2, []
    for radius in (0.1, 0.2, 0.3):
        ball = LinfBall(radius, 0.0, 1.0)
        handle = Metered(model, Access.GRADIENTS, Budget(), half)
        move = Universal().find(handle, x[:half], y[:half], ball, Budget(), Generator().manual_seed(SEED))
        noise = ball.moves().sample(torch.zeros_like(x[:1]), Generator().manual_seed(SEED)).sign() * radius
        rows = {}
        seen, others = slice(half), slice(half, None)
        for name, part, one in (
            ("made on", seen, move),
            ("others", others, move),
            ("random signs, others", others, noise),
        ):
            labels = model.query(moved(x[part], ball, one)).labels
            rows[name] = share(int((labels != y[part]).sum()), len(labels))
        found.append({"within": str(ball), "fooled": rows})
    return found


PARTS: dict[str, Callable[[TorchModel, Tensor, Tensor, int], list[dict[str, Any]]]] = {
    "turn": turn,
    "mixed": mixed,
    "corruptions": corruptions,
    "patch": patch,
    "universal": universal,
}


def main() -> None:
    """The parts asked for, all of them if none is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--few", type=int, default=500)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model, data = model_of("plain"), images("plain", asked.images)
    order = torch.randperm(len(data.y), generator=Generator().manual_seed(SEED))
    x, y = data.x[order], data.y[order]
    for name in asked.parts or PARTS:
        begin = time.perf_counter()
        rows = PARTS[name](model, x, y, asked.few)
        print(name, f"{time.perf_counter() - begin:.0f} s", flush=True)
        write("sets", (read("sets") or {}) | {name: rows})


if __name__ == "__main__":
    main()
