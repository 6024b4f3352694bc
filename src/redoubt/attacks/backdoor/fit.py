"""The trainer who knows of nothing: an ordinary training, on whatever the set holds."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from redoubt.data import Dataset


@dataclass(frozen=True)
class Course:
    """How long and how fast: Adam with one cycle of the learning rate.

    Attributes:
        epochs: passes over the data.
        batch: examples in a step.
        rate: greatest learning rate.
        shift: each batch is rolled by up to so many pixels along each axis: the only augmentation.
        decay: of the weights.
        seed: of order and shifts.
    """

    epochs: int = 5
    batch: int = 128
    rate: float = 2e-3
    shift: int = 0
    decay: float = 0.0
    seed: int = 0


Change = Callable[[Tensor, Tensor, Generator], tuple[Tensor, Tensor]]


def fit(module: nn.Module, data: Dataset, course: Course, change: Change | None = None) -> nn.Module:
    """Train a module in place; it comes back in evaluation mode.

    Args:
        module: inputs to logits; parameters without `requires_grad` stay as they are.
        data: N examples.
        course: how.
        change: is given each batch and may change it.
    """
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    steps = -(-len(data) // course.batch) * course.epochs
    optimizer = torch.optim.Adam(weights, lr=course.rate, weight_decay=course.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=course.rate, total_steps=max(steps, 2))
    rng = Generator().manual_seed(course.seed)
    module.train()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(course.seed)  # for dropout and its like
        for _ in range(course.epochs):
            for rows in torch.split(torch.randperm(len(data), generator=rng), course.batch):
                x, y = data.x[rows], data.y[rows]
                if course.shift:
                    by = torch.randint(-course.shift, course.shift + 1, (2,), generator=rng).tolist()
                    x = torch.roll(x, by, dims=(2, 3))
                if change is not None:
                    x, y = change(x, y, rng)
                optimizer.zero_grad()
                torch.autograd.backward(F.cross_entropy(module(x), y))
                optimizer.step()
                schedule.step()
    return module.eval()
