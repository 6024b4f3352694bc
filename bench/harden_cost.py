"""What recipes cost: processor seconds of an epoch against plain training, in the same run, and against a bare loop.

python bench/harden_cost.py

The rounds take turns, so that what else the machine does falls on all alike; the median ratio of the rounds counts.
"""

import time

import torch
import torch.nn.functional as F
from torch import Generator, nn

import zoo_models
from common import spread, write
from redoubt.data import Dataset
from redoubt.harden.course import begin
from redoubt.harden.step import Setting, learn, replay
from redoubt.models import TorchModel
from redoubt.perturb import LinfBall
from redoubt.records import Recipe
from zoo import FACE, dataset

IMAGES, BATCH, ROUNDS = 640, 128, 7
BALL = LinfBall(0.3, 0.0, 1.0)
COMMON = {"batch": BATCH, "optimizer": "adam"}
RECIPES = {
    "plain": Recipe(attack="none", **COMMON),
    "fast": Recipe(steps=1, step=1.25, warmup=0, **COMMON),
    "free, 4 replays": Recipe(attack="free", replays=4, warmup=0, **COMMON),
    "PGD-7": Recipe(steps=7, warmup=0, **COMMON),
    "TRADES, 7 steps": Recipe(steps=7, loss="trades", warmup=0, **COMMON),
    "PGD-7, weights perturbed and averaged": Recipe(
        steps=7, weight_perturbation=0.005, average=0.999, warmup=0, **COMMON
    ),
}


def epoch(recipe: Recipe, data: Dataset) -> float:
    """Processor seconds of one epoch."""
    torch.manual_seed(0)
    course = begin(TorchModel(zoo_models.strided(), FACE), recipe)
    setting = Setting(recipe, BALL, Generator().manual_seed(0), torch.device("cpu"))
    carried = None
    start = time.process_time()
    for rows in torch.arange(len(data)).split(BATCH):
        x, y = data.x[rows], data.y[rows]
        if recipe.attack == "free":
            _, carried = replay(course, setting, x, y, carried)
        else:
            learn(course, setting, x, y)
    return time.process_time() - start


def bare(data: Dataset, steps: int) -> float:
    """The same as PGD training in a loop that knows nothing of Redoubt."""
    torch.manual_seed(0)
    net = zoo_models.strided()
    optimizer = torch.optim.Adam(net.parameters())
    start = time.process_time()
    for rows in torch.arange(len(data)).split(BATCH):
        x, y = data.x[rows], data.y[rows]
        net.requires_grad_(False)
        point = (x + (2 * torch.rand_like(x) - 1) * 0.3).clamp(0, 1) if steps else x
        for _ in range(steps):
            point.requires_grad_()
            (slope,) = torch.autograd.grad(F.cross_entropy(net(point), y), point)
            point = point.detach() + 0.1 * slope.sign()
            point = torch.minimum(torch.maximum(point, x - 0.3), x + 0.3).clamp(0, 1)
        net.requires_grad_(True)
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(net(point), y))
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
    return time.process_time() - start


def main() -> None:
    """All recipes and the bare loops, in turns."""
    torch.set_num_threads(1)
    data = dataset("mnist", "train", IMAGES)
    runs = {name: lambda recipe=recipe: epoch(recipe, data) for name, recipe in RECIPES.items()}
    runs |= {"bare, plain": lambda: bare(data, 0), "bare, PGD-7": lambda: bare(data, 7)}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(ROUNDS + 1):  # the first warms up
        for name, run in runs.items():
            spent = run()
            if number:
                seconds[name].append(spent)
    ratios = {
        name: spread([one / plain for one, plain in zip(each, seconds["plain"], strict=True)])
        for name, each in seconds.items()
    }
    beside = {
        name: spread([ours / theirs for ours, theirs in zip(seconds[name], seconds[f"bare, {name}"], strict=True)])
        for name in ("plain", "PGD-7")
    }
    write("harden_cost", {"images": IMAGES, "rounds": ROUNDS, "ratios": ratios, "beside_bare": beside})
    for name, ratio in ratios.items():
        print(f"bench: {name}: {ratio['median']:.2f} plain epochs ({ratio['min']:.2f}-{ratio['max']:.2f})", flush=True)
    for name, ratio in beside.items():
        print(f"bench: {name} beside a bare loop: {ratio['median']:.2f}", flush=True)


if __name__ == "__main__":
    main()
