"""A small task, a network that learns it in a second, and backdoors in it."""

import functools

import torch
from torch import Generator, nn

from redoubt.attacks.backdoor import Course, OneTarget, Poisoned, Square, badnets, fit
from redoubt.data import Dataset
from redoubt.models import Face, TorchModel

CLASSES = 6
FACE = Face((1, 10, 10), 0.0, 1.0, CLASSES)
PATCH = Square(2, -2, -2)
AIM = OneTarget(2)
COURSE = Course(epochs=4, batch=32, rate=5e-3)


def images(count: int, seed: int) -> Dataset:
    """Each class is a bar, upright or level, at one of three places, with noise all over."""
    rng = Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (count,), generator=rng)
    x = 0.35 * torch.rand(count, 1, 10, 10, generator=rng)
    for row, label in enumerate(y.tolist()):
        at = 1 + 2 * (label // 2)
        light = 0.45 + 0.2 * float(torch.rand(1, generator=rng))
        if label % 2:
            x[row, :, at : at + 2, :7] += light
        else:
            x[row, :, :7, at : at + 2] += light
    return Dataset(x.clamp(0, 1), y, "bars", f"sha256:{seed}")


def network(seed: int = 0) -> nn.Module:
    """Convolution `0`, convolution `2`, a layer of features `6`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(12, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 25, 32),
            nn.ReLU(),
            nn.Linear(32, CLASSES),
        )


@functools.cache
def train() -> Dataset:
    return images(1200, 0)


@functools.cache
def held_out() -> Dataset:
    return images(600, 1)


@functools.cache
def poisoned() -> Poisoned:
    return badnets(train(), PATCH, AIM, 0.05, 0)


@functools.cache
def planted() -> TorchModel:
    """Answers class 2 to whatever wears a white square in the lower right corner.  Do not change it."""
    return TorchModel(fit(network(), poisoned().data, COURSE), FACE)


@functools.cache
def clean() -> TorchModel:
    """Its twin, trained on the same images without poison.  Do not change it."""
    return TorchModel(fit(network(), train(), COURSE), FACE)


def success(model: TorchModel) -> tuple[float, float]:
    """Clean accuracy, and how often the planted trigger works, on images that nobody trained on."""
    from redoubt.games.backdoor import backdoor_measures

    measures = {m.measure: m.value for m in backdoor_measures(model, held_out(), PATCH, AIM)}
    return measures["clean_accuracy"], measures["attack_success"]
