"""Our PGD beside a bare loop, foolbox, torchattacks and ART: one process, same model, images, steps, radius and step.

python bench/peers.py [--rounds N] [--images N]

Two settings.  `same passes`: images that an earlier, stronger attack left standing, so that every contender makes all
40 steps on all of them.  `as shipped`: all images, where ours goes on with survivors only.  In each round every
contender runs once, in an order that rotates; what counts is the ratio to the bare loop of the same round.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import art.attacks.evasion
import art.estimators.classification
import foolbox
import numpy as np
import torch
import torch.nn.functional as F
import torchattacks
from torch import Tensor, nn

from common import images, model_of, spread, write
from redoubt.attacks.evasion import APGD, PGD, TargetedAPGD
from redoubt.games import play, play_round
from redoubt.models import Metered, TorchModel
from redoubt.perturb import LinfBall
from redoubt.records import Access, Budget

STEPS = 40
BATCH = 250  # the size of one task of `redoubt assess`

# A batch [B, 1, 28, 28] and labels [B] to perturbed images, and whether each fools the model, bool [B]: how a contender
# comes to know that is part of its time.
Contender = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def _wrong(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        answer: Tensor = module(x).argmax(dim=1) != y
    return answer


def bare_loop(module: nn.Module, radius: float) -> Contender:
    """The leanest eager loop: 40 forward and backward passes, the gradient of the input alone, and one last answer."""

    def run(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        step = 2.5 / STEPS * radius
        point = (x + torch.empty_like(x).uniform_(-radius, radius)).clamp_(0, 1)
        for _ in range(STEPS):
            point.requires_grad_()
            loss = F.cross_entropy(module(point), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, point)
            point = point.detach() + step * gradient.sign()
            point = torch.minimum(torch.maximum(point, x - radius), x + radius).clamp_(0, 1)
        return point, _wrong(module, point, y)

    return run


def backward_loop(module: nn.Module, radius: float) -> Contender:
    """The same loop as scripts often write it: `loss.backward()`, which computes the gradients of the weights too."""

    def run(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        step = 2.5 / STEPS * radius
        point = (x + torch.empty_like(x).uniform_(-radius, radius)).clamp_(0, 1)
        for _ in range(STEPS):
            point.requires_grad_()
            module.zero_grad()
            torch.autograd.backward(F.cross_entropy(module(point), y, reduction="sum"))
            gradient = point.grad if point.grad is not None else torch.zeros_like(x)
            point = point.detach() + step * gradient.sign()
            point = torch.minimum(torch.maximum(point, x - radius), x + radius).clamp_(0, 1)
        return point, _wrong(module, point, y)

    return run


def ours_in_the_game(model: TorchModel, radius: float) -> Contender:
    """`PGD(40)` played by the game: metered, projected again and judged."""
    within, attack = LinfBall(radius, 0.0, 1.0), PGD(steps=STEPS, restarts=1)

    def run(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        rng = torch.Generator().manual_seed(torch.initial_seed())
        played = play_round(model, attack, x, y, within, Access.GRADIENTS, Budget(), rng)
        return played.perturbed, played.fooled

    return run


def ours_alone(model: TorchModel, radius: float) -> Contender:
    """`PGD(40).run` without the judge."""
    within, attack = LinfBall(radius, 0.0, 1.0), PGD(steps=STEPS, restarts=1)

    def run(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        handle = Metered(model, Access.GRADIENTS, Budget(), len(x))
        rng = torch.Generator().manual_seed(torch.initial_seed())
        point = attack.run(handle, x, y, within, Budget(), rng)
        return point, _wrong(model.module, point, y)

    return run


def with_foolbox(module: nn.Module, radius: float) -> Contender:
    """foolbox's `LinfPGD`."""
    model = foolbox.PyTorchModel(module, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfPGD(rel_stepsize=2.5 / STEPS, steps=STEPS, random_start=True)

    def run(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        _, clipped, success = attack(model, x, y, epsilons=radius)
        return clipped, success

    return run


def with_torchattacks(module: nn.Module, radius: float) -> Contender:
    """torchattacks' `PGD`."""
    attack = torchattacks.PGD(module, eps=radius, alpha=2.5 / STEPS * radius, steps=STEPS, random_start=True)

    def run(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        perturbed: Tensor = attack(x, y)
        return perturbed, _wrong(module, perturbed, y)

    return run


def with_art(module: nn.Module, radius: float) -> Contender:
    """ART's `ProjectedGradientDescentPyTorch`."""
    classifier = art.estimators.classification.PyTorchClassifier(
        module,
        loss=nn.CrossEntropyLoss(),
        input_shape=(1, 28, 28),
        nb_classes=10,
        clip_values=(0, 1),
        device_type="cpu",
    )
    attack = art.attacks.evasion.ProjectedGradientDescentPyTorch(
        classifier,
        eps=radius,
        eps_step=2.5 / STEPS * radius,
        max_iter=STEPS,
        num_random_init=1,
        batch_size=BATCH,
        verbose=False,
    )

    def run(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        perturbed = torch.from_numpy(attack.generate(x.numpy(), np.eye(10, dtype=np.float32)[y.numpy()]))
        return perturbed, _wrong(module, perturbed, y)

    return run


def contenders(model: TorchModel, which: str, radius: float) -> dict[str, Contender]:
    """All of them.  Each peer gets a module of its own whose weights require gradients, as in an ordinary script."""

    def ordinary() -> nn.Module:
        return model_of(which).module.requires_grad_(True)

    return {
        "bare loop": bare_loop(ordinary(), radius),
        "bare loop, frozen weights": bare_loop(model_of(which).module.requires_grad_(False), radius),
        "bare loop, loss.backward()": backward_loop(ordinary(), radius),
        "redoubt PGD in the game": ours_in_the_game(model, radius),
        "redoubt PGD alone": ours_alone(model, radius),
        "foolbox LinfPGD": with_foolbox(ordinary(), radius),
        "torchattacks PGD": with_torchattacks(ordinary(), radius),
        "ART PGD (PyTorch)": with_art(ordinary(), radius),
    }


def race(model: TorchModel, which: str, radius: float, x: Tensor, y: Tensor, rounds: int) -> dict[str, Any]:
    """Seconds, ratios to the bare loop of the same round, and robust accuracy of each contender.

    Args:
        model: the system, which judges all.
        which: `plain` or `hardened`.
        radius: of the Linf ball.
        x, y: images `[N, 1, 28, 28]`, all rightly answered, and labels `[N]`.
        rounds: how often each contender runs, after one run that does not count.
    """
    field = contenders(model, which, radius)
    seconds: dict[str, list[float]] = {name: [] for name in field}
    standing: dict[str, list[float]] = {name: [] for name in field}
    names = list(field)
    for number in range(rounds + 1):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            torch.manual_seed(number)
            np.random.seed(number)
            begin = time.perf_counter()
            done = [field[name](a, b) for a, b in zip(x.split(BATCH), y.split(BATCH), strict=True)]
            if number:
                seconds[name].append(time.perf_counter() - begin)
            perturbed = torch.cat([points for points, _ in done])
            farthest = float((perturbed - x).abs().max())
            if farthest > radius + 1e-5:
                raise SystemExit(f"{name} left the ball: {farthest} > {radius}")
            standing[name].append(float((model.query(perturbed).labels == y).float().mean()))
    bare = seconds["bare loop"]
    return {
        name: {
            "seconds": statistics.median(seconds[name]),
            "ratio": spread([mine / base for mine, base in zip(seconds[name], bare, strict=True)]),
            "robust_accuracy": spread(standing[name]),
        }
        for name in names
    }


def passes_of_ours(model: TorchModel, radius: float, x: Tensor, y: Tensor) -> float:
    """Mean passes per image of our PGD; the bare loop makes 2 * 40 + 1."""
    total = 0
    for a, b in zip(x.split(BATCH), y.split(BATCH), strict=True):
        rng, within = torch.Generator().manual_seed(0), LinfBall(radius, 0.0, 1.0)
        played = play_round(model, PGD(steps=STEPS), a, b, within, Access.GRADIENTS, Budget(), rng)
        total += int(played.meter.passes.sum())
    return total / len(x)


def main() -> None:
    """Both models, both settings."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int)
    asked = parser.parse_args()
    results: list[dict[str, Any]] = []
    for which, radius in (("hardened", 0.3), ("plain", 0.1)):
        model = model_of(which)
        data = images(which, asked.images)
        right = model.query(data.x).labels == data.y
        x, y = data.x[right], data.y[right]
        within = LinfBall(radius, 0.0, 1.0)
        strong = [PGD(steps=STEPS, restarts=5), APGD("ce"), TargetedAPGD(targets=3)]
        stands = torch.cat(
            [play(model, strong, a, b, within) for a, b in zip(x.split(BATCH), y.split(BATCH), strict=True)]
        )
        for setting, rows in (("same passes", stands), ("as shipped", torch.ones_like(stands))):
            part_x, part_y = x[rows], y[rows]
            print(f"bench: peers, {which} model, {setting}, {len(part_x)} images", flush=True)
            results.append(
                {
                    "model": which,
                    "radius": radius,
                    "setting": setting,
                    "images": len(part_x),
                    "batch": BATCH,
                    "rounds": asked.rounds,
                    "threads": torch.get_num_threads(),
                    "passes": passes_of_ours(model, radius, part_x, part_y),
                    "contenders": race(model, which, radius, part_x, part_y, asked.rounds),
                }
            )
    write("peers", results)


if __name__ == "__main__":
    os.chdir(Path(__file__).parent)
    main()
