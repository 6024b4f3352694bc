"""Adversarial training (Madry et al. 2018): train on the worst point of the set that a short attack finds."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from redoubt.data import Dataset
from redoubt.models import TorchModel
from redoubt.perturb import PerturbationSet
from redoubt.records import HardenRecipe, ModelError


@dataclass(frozen=True)
class Epoch:
    """What one epoch did.

    Attributes:
        number: from 1.
        loss: mean training loss.
        clean, robust: accuracy on the examples held out, unperturbed and under the training attack with twice the
            steps, in the full set.  The latter is a guide for training, not a measurement: `assess` measures.
    """

    number: int
    loss: float
    clean: float
    robust: float


def train(
    model: TorchModel,
    optimizer: torch.optim.Optimizer,
    data: Dataset,
    held_out: Dataset,
    within: PerturbationSet,
    recipe: HardenRecipe,
    seed: int,
    first_epoch: int = 1,
) -> Iterator[Epoch]:
    """Train in place, an epoch at a time; yields after each, when it is safe to save.

    The set grows from a point to its full size over the warm-up, since a model that starts in a large Linf ball learns
    to ignore its input; then the learning rate falls to zero along a cosine.  Each epoch draws its own random numbers
    from the seed, so training that goes on after a kill takes the same course as training that was never killed.

    Args:
        model: its weights change.
        optimizer: over the model's parameters.
        data: training examples.
        held_out: examples to watch, not trained on.
        within: the set to withstand; its face is the model's.
        recipe: epochs, steps, batch, learning rate, warm-up.
        seed: the policy's.
        first_epoch: where to go on, from 1.

    Raises:
        ModelError: the loss is not finite.
    """
    module = model.module
    for number in range(first_epoch, recipe.epochs + 1):
        rng = Generator().manual_seed(seed * 1_000_003 + number)
        grown = min(1.0, number / (recipe.warmup + 1))
        part = within if grown == 1.0 else within.scaled(grown)
        order = torch.randperm(len(data), generator=rng)
        total = 0.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * 1_000_003 + number)  # for dropout and its like
            for at in range(0, len(data), recipe.batch):
                rows = order[at : at + recipe.batch]
                if at and len(rows) == 1:
                    continue  # batch normalisation cannot train on one example
                done = (number - 1 + at / len(data)) / recipe.epochs
                for group in optimizer.param_groups:
                    group["lr"] = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
                loss = _step(model, optimizer, data.x[rows], data.y[rows], part, recipe, rng)
                total += loss * len(rows)
        module.eval().requires_grad_(False)
        if not math.isfinite(total):
            raise ModelError(
                f"training broke down: the loss of epoch {number} is not finite",
                remedy="lower `learning_rate`, or raise `warmup`, under `harden` in the policy",
            )
        clean, robust = _watch(model, held_out, within, recipe, rng)
        yield Epoch(number, total / len(data), clean, robust)


def _step(
    model: TorchModel,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    within: PerturbationSet,
    recipe: HardenRecipe,
    rng: Generator,
) -> float:
    module = model.module
    module.eval().requires_grad_(False)
    worst = worst_point(model, x, y, within, recipe.steps, rng)
    module.train().requires_grad_(True)
    loss = F.cross_entropy(model.training_logits(worst), y)
    if recipe.clean_share:
        loss = (1 - recipe.clean_share) * loss + recipe.clean_share * F.cross_entropy(model.training_logits(x), y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(module.parameters(), 5.0)
    optimizer.step()
    return float(loss.detach())


def worst_point(model: TorchModel, x: Tensor, y: Tensor, within: PerturbationSet, steps: int, rng: Generator) -> Tensor:
    """The input `[B, *shape]` of highest cross-entropy that `steps` steepest-ascent steps find in the set."""
    point = within.sample(x, rng)
    for _ in range(steps):
        leaf = point.detach().requires_grad_()
        loss = F.cross_entropy(model.logits(within.draw(x, leaf, rng)), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        point = within.ascend(x, point, gradient, 2.5 / steps)
    return within.draw(x, point, rng).detach()


def _watch(
    model: TorchModel, held_out: Dataset, within: PerturbationSet, recipe: HardenRecipe, rng: Generator
) -> tuple[float, float]:
    x, y = held_out.x, held_out.y
    worst = worst_point(model, x, y, within, 2 * recipe.steps, rng)
    with torch.no_grad():
        clean, robust = ((model.logits(z).argmax(dim=1) == y).float().mean() for z in (x, worst))
    return float(clean), float(robust)
