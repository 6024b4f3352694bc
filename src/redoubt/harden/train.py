"""Training by a recipe, an epoch at a time (Madry et al. 2018): lower the loss at the set's worst points."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Generator

from redoubt.data import Dataset
from redoubt.harden.augment import augmented
from redoubt.harden.course import Course, Snapshot
from redoubt.harden.epoch import Epoch
from redoubt.harden.overfitting import overfitted
from redoubt.harden.parallel import members, share_of, total
from redoubt.harden.schedule import grown, in_epoch, rate
from redoubt.harden.step import Setting, learn, replay
from redoubt.harden.voting import alone
from redoubt.harden.watch import Watched, watch
from redoubt.models import TorchModel
from redoubt.perturb import PerturbationSet, Turn
from redoubt.records import ModelError, Recipe

_CPU = torch.device("cpu")
_TRIES = 4  # how often an epoch is undone at most
_WATCHED = 300  # examples for the check for catastrophic overfitting


@dataclass(frozen=True)
class Training:
    """What is trained with what.

    Attributes:
        data: training examples.
        held_out: examples to watch, not trained on.
        within: the set to withstand; its face is the model's.
        recipe: see `Recipe`.
        seed: the policy's.
        device: where the model computes.
        static: models that stay as they are, for `attack: ensemble`.
        augment: how training images are turned and shifted before all else.
    """

    data: Dataset
    held_out: Dataset
    within: PerturbationSet
    recipe: Recipe
    seed: int
    device: torch.device = _CPU
    static: tuple[TorchModel, ...] = ()
    augment: Turn | None = None


def train(course: Course, training: Training) -> Iterator[Epoch]:
    """Train in place, an epoch at a time; yields after each, when it is safe to save.

    Each epoch draws its own random numbers from the seed, so training that goes on after a kill takes the same course
    as training that was never killed.

    Args:
        course: where training stands; its weights, history and counts change.
        training: with what.

    Raises:
        ModelError: the loss is not finite.
    """
    recipe = training.recipe
    if recipe.compile:
        course.model.module.compile()
    while len(course.history) < recipe.epochs and not _has_stopped(course.history, recipe):
        begin = time.perf_counter()
        number, undone = len(course.history) + 1, 0
        before = Snapshot.of(course) if recipe.watch_overfitting else None
        loss = _epoch(course, training, number)
        while before is not None and undone < _TRIES and _overfitted(course, training, number, before):
            before.restore(course)
            course.steps *= 2
            undone += 1
            loss = _epoch(course, training, number)
        seen, fitted = _watch(course, training, number)
        epoch = Epoch(
            number,
            loss,
            seen.clean,
            seen.robust,
            fitted.robust,
            grown(recipe, number),
            course.steps,
            undone,
            course.count.forwards,
            course.count.backwards,
            time.perf_counter() - begin,
        )
        if recipe.keep == "best" and _is_best(epoch, course.history, recipe):
            course.best = {name: value.clone() for name, value in course.shown.module.state_dict().items()}
        course.history.append(epoch)
        yield epoch


def _epoch(course: Course, training: Training, number: int) -> float:
    """Train for one epoch; its mean loss."""
    recipe, data, module = training.recipe, training.data, course.model.module
    rng = Generator().manual_seed(training.seed * 1_000_003 + number)
    order = torch.randperm(len(data), generator=rng)
    bounds = recipe.loss == "interval-bounds"  # whose radius grows with every batch
    within = training.within if bounds else in_epoch(training.within, recipe, number)
    setting = Setting(recipe, within, rng, training.device, training.static)
    lost, seen, carried = 0.0, 0, None
    with torch.random.fork_rng(devices=[]), alone(module):
        torch.manual_seed(training.seed * 1_000_003 + number)  # for dropout and its like
        for at in range(0, len(data), recipe.batch):
            rows = order[at : at + recipe.batch]
            if at and len(rows) == 1:
                continue  # batch normalisation cannot train on one example
            done = (number - 1 + at / len(data)) / recipe.epochs
            for group in course.optimizer.param_groups:
                group["lr"] = rate(recipe, done)
            x, y = data.x[rows].to(training.device), data.y[rows].to(training.device)
            if training.augment is not None:
                x = augmented(x, training.augment, rng)
            if recipe.attack == "free":
                loss, carried = replay(course, setting, x, y, carried)
            else:
                loss = learn(course, replace(setting, done=done), x, y)
            own = share_of(len(rows), *members())
            lost += loss * (own.stop - own.start)
            seen += own.stop - own.start
    module.eval().requires_grad_(False)
    everyones, rows_of_all = total([lost, float(seen)])
    mean = everyones / rows_of_all
    if not math.isfinite(mean):
        raise ModelError(
            f"training broke down: the loss of epoch {number} is not finite",
            remedy="lower `learning_rate`, or raise `warmup`, under `harden` in the policy",
        )
    return mean


def _watch(course: Course, training: Training, number: int) -> tuple[Watched, Watched]:
    """Examples held out, and as many trained on, in the full set of the requirement."""
    rng = _watching(training, number)
    recipe, data, many = training.recipe, training.data, len(training.held_out)
    some = Dataset(data.x[:many], data.y[:many], data.source, data.digest)
    steps = 2 * max(recipe.steps, course.steps)
    seen, fitted = (
        watch(course.shown, each, training.within, recipe, steps, rng, training.device)
        for each in (training.held_out, some)
    )
    return seen, fitted


def _overfitted(course: Course, training: Training, number: int, before: Snapshot) -> bool:
    """Whether the weights withstand the training attack in this epoch's set, but no longer a longer one."""
    recipe = training.recipe
    held_out = training.held_out
    few = Dataset(held_out.x[:_WATCHED], held_out.y[:_WATCHED], held_out.source, held_out.digest)
    within = in_epoch(training.within, recipe, number)

    def under(steps: int) -> float:
        rng = _watching(training, number)
        return watch(course.model, few, within, recipe, steps, rng, training.device).robust

    own, longer = under(course.steps), under(max(10, 4 * course.steps))
    after = Snapshot.of(course)
    before.restore(course)
    earlier = under(max(10, 4 * course.steps)) if number > 1 else None
    after.restore(course)
    return overfitted(own, longer, earlier)


def _watching(training: Training, number: int) -> Generator:
    """Random numbers of its own for watching, so that how much is watched does not change the training."""
    return Generator().manual_seed(training.seed * 1_000_003 + number + 500_000)


def _in_full(epoch: Epoch, recipe: Recipe) -> bool:
    plain = recipe.attack == "none" and recipe.loss != "interval-bounds"
    return plain or epoch.number > recipe.warmup or epoch.number == recipe.epochs


def _is_best(epoch: Epoch, history: list[Epoch], recipe: Recipe) -> bool:
    """Whether no epoch in the full set was as robust; what went before the set was full does not count."""
    earlier = [past.robust for past in history if _in_full(past, recipe)]
    return _in_full(epoch, recipe) and epoch.robust > max(earlier, default=-1.0)


def _has_stopped(history: list[Epoch], recipe: Recipe) -> bool:
    """Whether so many epochs in the full set brought nothing better that patience is at an end."""
    full = [epoch.robust for epoch in history if _in_full(epoch, recipe)]
    if recipe.patience is None or not full:
        return False
    return len(full) - 1 - full.index(max(full)) >= recipe.patience
