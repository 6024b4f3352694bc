"""A student for images that learns from unlabelled ones by consistency: FixMatch (Sohn et al. 2020), small.

What the network is sure of on an image as it is, or nearly, it is to say of the image turned, scaled, shifted and
partly covered as well.  It looks at public images and at answers only, and so costs no privacy.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from redoubt.records import DataError


@dataclass(frozen=True)
class Course:
    """How the student learns.

    Attributes:
        steps: how many.
        batch: answered images in a step; `unlabelled` times as many without an answer join them.
        unlabelled: see there.
        sure: probability above which a guess is learnt from, in 0..1.
        learning_rate: the greatest, of a cosine.
        smoothing: of the answers, which are wrong now and then; in 0..1.
        turn: radians.
        scale: share of the size.
        shift: share of half of the width.
        cover: side of the square that is covered, share of the width.
    """

    steps: int = 1200
    batch: int = 64
    unlabelled: int = 2
    sure: float = 0.95
    learning_rate: float = 0.002
    smoothing: float = 0.1
    turn: float = 0.35
    scale: float = 0.15
    shift: float = 0.15
    cover: float = 0.3


def network(channels: int, classes: int) -> nn.Module:
    """Two convolutions and two linear layers, for images of 28 x 28."""
    return nn.Sequential(
        nn.Conv2d(channels, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(48 * 7 * 7, 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


def learn_consistent(
    images: Tensor,
    labels: Tensor,
    classes: int,
    course: Course,
    generator: Generator,
    heard: Callable[[int, float], None] | None = None,
) -> nn.Module:
    """Train a student; its weights are the average over the steps, older ones counting for less.

    Args:
        images: public, float32 `[Q, C, 28, 28]` in 0..1.
        labels: int64 `[Q]`, -1 without an answer.
        classes: K.
        course: see there.
        generator: first weights, batches and distortions.  Torch's own random numbers are left as they were.
        heard: told each 100th step and the share of guesses that were sure.

    Raises:
        DataError: nothing was answered, or these are no images of 28 x 28.
    """
    answered = (labels >= 0).nonzero().flatten()
    if not len(answered) or images.ndim != 4 or images.shape[2:] != (28, 28):
        raise DataError(
            f"{len(answered)} answers about inputs {list(images.shape)}",
            remedy="give images [Q, C, 28, 28], and answers to some",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        student, kept = network(images.shape[1], classes), network(images.shape[1], classes)
        kept.load_state_dict(student.state_dict())
        optimizer = torch.optim.AdamW(student.parameters(), lr=course.learning_rate, weight_decay=0.01)
        for step in range(course.steps):
            optimizer.param_groups[0]["lr"] = course.learning_rate * math.cos(step / course.steps * 7 * math.pi / 16)
            some = answered[torch.randint(len(answered), (course.batch,), generator=generator)]
            others = torch.randint(len(images), (course.batch * course.unlabelled,), generator=generator)
            sure = _step(student, optimizer, images, labels, some, others, course, generator)
            with torch.no_grad():
                share = min(0.995, (step + 1) / (step + 10))
                for old, new in zip(kept.parameters(), student.parameters(), strict=True):
                    old.lerp_(new, 1 - share)
            if heard is not None and step % 100 == 99:
                heard(step + 1, sure)
    return kept.eval()


def _step(
    student: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    some: Tensor,
    others: Tensor,
    course: Course,
    generator: Generator,
) -> float:
    student.train()
    with torch.no_grad():
        guess = student(distorted(images[others], course, generator, 0.3)).softmax(1).max(1)
    sure = (guess.values >= course.sure).float()
    both = torch.cat([images[some], images[others]])
    moved = distorted(both, course, generator, 1.0)
    moved[len(some) :] = covered(moved[len(some) :], course.cover, generator)
    logits = student(moved)
    loss = F.cross_entropy(logits[: len(some)], labels[some], label_smoothing=course.smoothing)
    loss = loss + (F.cross_entropy(logits[len(some) :], guess.indices, reduction="none") * sure).mean()
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    return float(sure.mean())


def distorted(x: Tensor, course: Course, generator: Generator, strength: float) -> Tensor:
    """Each image turned, scaled and shifted at random, up to `strength` times the course's most."""
    drawn = (torch.rand(len(x), 5, generator=generator) * 2 - 1) * strength
    angle, wide, high = drawn[:, 0] * course.turn, 1 + drawn[:, 1] * course.scale, 1 + drawn[:, 2] * course.scale
    sideways, down = drawn[:, 3] * course.shift, drawn[:, 4] * course.shift
    matrix = torch.stack(
        [
            torch.stack([angle.cos() * wide, -angle.sin() * high, sideways], dim=1),
            torch.stack([angle.sin() * wide, angle.cos() * high, down], dim=1),
        ],
        dim=1,
    )
    return F.grid_sample(x, F.affine_grid(matrix, list(x.shape), align_corners=False), align_corners=False)


def covered(x: Tensor, side: float, generator: Generator) -> Tensor:
    """A square of each image, somewhere, set to 0."""
    size = x.shape[-1]
    corner = torch.randint(0, size, (len(x), 2), generator=generator) - int(side * size) // 2
    along = torch.arange(size)
    rows, columns = (
        (along >= corner[:, axis, None]) & (along < corner[:, axis, None] + int(side * size)) for axis in (0, 1)
    )
    return x * ~(rows[:, None, :, None] & columns[:, None, None, :])
