"""One batch: find the worst points, learn from them."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from redoubt.harden.course import Course
from redoubt.harden.inner import Task, starts_for, worst_points
from redoubt.harden.losses import Learnt, loss_of, objective_of
from redoubt.harden.losses.interval import at, ball_of, interval_loss
from redoubt.harden.parallel import members, share_of, summed
from redoubt.harden.weights import follow, restored, unmoved
from redoubt.models import TorchModel
from redoubt.perturb import PerturbationSet
from redoubt.records import Recipe

_MOST = 5.0  # the gradient's norm is cut to this


@dataclass(frozen=True)
class Setting:
    """What stays the same over an epoch.

    Attributes:
        recipe: see `Recipe`.
        within: the set, as large as it is in this epoch.
        rng: a CPU generator of the epoch.
        device: where the model computes.
        static: models that stay as they are, for `attack: ensemble`.
        done: share of all training that is done, 0..1; grows from batch to batch.
    """

    recipe: Recipe
    within: PerturbationSet
    rng: Generator
    device: torch.device
    static: tuple[TorchModel, ...] = ()
    done: float = 0.0


def learn(course: Course, setting: Setting, x: Tensor, y: Tensor) -> float:
    """Find the worst points of one batch and take one step; the mean loss of this process's rows."""
    recipe, module = setting.recipe, course.model.module
    rank, world = members()
    mine = share_of(len(x), rank, world)
    x_mine, y_mine = x[mine], y[mine]
    weight = len(x_mine) / len(x)

    module.eval().requires_grad_(False)
    with _precision(setting):
        attacked = _attacked(course.model, setting)
        objective, spread = objective_of(recipe, course.model.logits, x_mine, y_mine, course.count)
        task = Task(attacked.logits, objective, x_mine, setting.rng, course.count)
        points = worst_points(task, setting.within, recipe, course.steps, starts_for(x, setting.rng, mine, spread))
    module.train().requires_grad_(True)

    batch = Learnt(x_mine, y_mine, points)
    course.optimizer.zero_grad(set_to_none=True)
    loss = _slope(course, setting, batch, weight)
    if recipe.weight_perturbation is not None:
        before = unmoved(module, recipe.weight_perturbation)
        loss = _slope(course, setting, batch, weight)
        restored(module, before)
    advance(course, recipe)
    return loss


def replay(course: Course, setting: Setting, x: Tensor, y: Tensor, carried: Tensor | None) -> tuple[float, Tensor]:
    """Free training of one batch (Shafahi et al. 2019, algorithm 1).

    Each backward pass gives the gradient of the weights and of the point; both move.

    Args:
        course: where training stands.
        setting: what stays the same over the epoch.
        x: all inputs of the batch.
        y: their labels.
        carried: where the points of the batch before ended, less `start`, `[B, ...]`; None at an epoch's beginning.

    Returns:
        The mean loss over the replays, and what to carry on.
    """
    recipe, module, within = setting.recipe, course.model.module, setting.within
    rank, world = members()
    mine = share_of(len(x), rank, world)
    x, y, whole = x[mine], y[mine], len(x)
    origin = within.start(x)
    if carried is None or len(carried) != len(x):  # also a last, shorter batch begins at the inputs themselves
        carried = torch.zeros_like(origin)
    point = within.project(x, origin + carried)
    module.train().requires_grad_(True)
    total = 0.0
    for _ in range(recipe.replays):
        leaf = point.detach().requires_grad_()
        course.optimizer.zero_grad(set_to_none=True)
        with _precision(setting):
            loss = F.cross_entropy(course.model.training_logits(within.draw(x, leaf, setting.rng)), y)
        torch.autograd.backward(loss)
        course.count.forward(len(x))
        course.count.backward(len(x))
        slope = leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)
        point = within.ascend(x, point.detach(), slope, recipe.step_length)
        summed(module, len(x) / whole)
        advance(course, recipe)
        total += float(loss.detach())
    return total / recipe.replays, point - origin


def advance(course: Course, recipe: Recipe) -> None:
    """Step along the gradients that are there, and move the average."""
    module = course.model.module
    nn.utils.clip_grad_norm_(module.parameters(), _MOST)
    course.optimizer.step()
    course.updates += 1
    if course.averaged is not None and recipe.average is not None:
        follow(course.averaged.module, module, recipe.average, course.updates)


def _slope(course: Course, setting: Setting, batch: Learnt, weight: float) -> float:
    """Leave gradients of the whole batch on the weights; the mean loss of this process's rows."""
    if len(batch.x) == 0:
        summed(course.model.module, 0.0)
        return 0.0
    with _precision(setting):
        loss = _loss(course, setting, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    summed(course.model.module, weight)
    return float(loss.detach())


def _loss(course: Course, setting: Setting, batch: Learnt) -> Tensor:
    recipe, module = setting.recipe, course.model.module
    if recipe.loss != "interval-bounds":
        return loss_of(recipe, course.model.training_logits, batch, course.count)
    ball, regularise = at(ball_of(setting.within), recipe, setting.done)
    module.eval()  # its running means belong to the bound
    return interval_loss(module, batch.x, batch.y, ball, recipe, regularise, course.count)


def _attacked(model: TorchModel, setting: Setting) -> TorchModel:
    """The model whose worst points are looked for: for `ensemble`, itself or one of the others, by chance."""
    if setting.recipe.attack != "ensemble":
        return model
    choice = int(torch.randint(len(setting.static) + 1, (), generator=setting.rng))
    return model if choice == 0 else setting.static[choice - 1]


@contextlib.contextmanager
def _precision(setting: Setting) -> Iterator[None]:
    if setting.recipe.precision == "float32":
        yield
        return
    with torch.autocast(setting.device.type, torch.bfloat16):
        yield
