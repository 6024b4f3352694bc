"""Features learnt from public data, so that no privacy is spent on them (Tramer and Boneh 2021 on transfer)."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from redoubt.bounds.privacy.events import PublicTraining
from redoubt.detectors.saved import read_state, write_state
from redoubt.records import DataError, PolicyError, digest

_BLOCK = 256  # images transformed at once
_BATCH = 128
_MOMENTUM = 0.9
_DECAY = 5e-4
_NORM_GROUPS = 4
_WIDTHS = (32, 64, 64)


@dataclass(frozen=True)
class PublicCourse:
    """How a small network learns from public data: plain SGD with momentum 0.9, one cosine of the learning rate.

    Attributes:
        epochs: passes over the public data; at least 1.
        learning_rate: of the first step; above 0.
        layers: how many of the network's convolutions (of 32, 64 and 64 channels; the first two halve height and
            width) the features are taken behind, 1 to 3.
        seed: of the first weights and of the order of the images; at least 0.
    """

    epochs: int = 5
    learning_rate: float = 0.05
    layers: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = {
            "epochs": self.epochs < 1,
            "learning_rate": not 0 < self.learning_rate < math.inf,
            "layers": not 1 <= self.layers <= len(_WIDTHS),
            "seed": self.seed < 0,
        }
        for name, is_wrong in wrong.items():
            if is_wrong:
                raise PolicyError(
                    f"{name} is {getattr(self, name)!r}", remedy="see the ranges in PublicCourse's description"
                )


@dataclass(frozen=True)
class PublicFeatures:
    """Convolutions with fixed weights.

    Every layer, its group normalisation included, looks at one image by itself: whatever is computed from the features
    is as private as the same thing computed from the images, if none of those is among the public data.

    Attributes:
        name: what was learnt, from what and how, for the name of a cached file.
        events: for the ledger; they cost nothing.
    """

    name: str
    events: tuple[PublicTraining, ...]
    _convolutions: nn.Sequential = field(repr=False)

    def __call__(self, x: Tensor) -> Tensor:
        """Features of images `[B, C, H, W]`, C as in the public ones: float32 `[B, C', H', W']`, none negative.

        Raises:
            DataError: these are no images, or have other channels than the public ones.
        """
        channels = next(self._convolutions.parameters()).shape[1]
        if x.ndim != 4 or x.shape[1] != channels:
            raise DataError(
                f"inputs are {list(x.shape)}, and the features were learnt on images [B, {channels}, H, W]",
                remedy="learn them on public images with as many channels",
            )
        with torch.no_grad():
            return torch.cat([self._convolutions(part.float()) for part in torch.split(x, _BLOCK)])


def learn_features(
    x: Tensor,
    y: Tensor,
    classes: int,
    data: str,
    folder: Path,
    course: PublicCourse | None = None,
    heard: Callable[[int], None] | None = None,
) -> PublicFeatures:
    """Learn features from public images and labels, or take them from the folder if they were learnt already.

    The weights lie in a safetensors file, written after each epoch; a training that was killed goes on from there, and
    comes to the same weights.

    Args:
        x: public images, float32 `[N, C, H, W]`, on the scale of the private ones.
        y: their labels, int64 `[N]`, in 0..classes-1.
        classes: K; the private records may have others.
        data: which public data it is, for the ledger.
        folder: where the weights lie; made if it is missing.
        course: how; the defaults of PublicCourse if it is left out.
        heard: called after each epoch, when it is on disk, with its number.

    Raises:
        DataError: there are no images, or the labels do not belong to them; or what was learnt is not finite.
        StorageError: the folder cannot be written to.
    """
    course = PublicCourse() if course is None else course
    _check(x, y, classes)
    of = digest([digest(part.contiguous().numpy().tobytes()) for part in (x, y)])
    # How deep the features are taken changes nothing of the training.
    taken = {name: value for name, value in asdict(course).items() if name != "layers"}
    key = digest([of, list(x.shape), classes, taken])
    network, convolutions = _network(x.shape[1], classes, course)
    path = folder / f"public-{key.removeprefix('sha256:')[:32]}.safetensors"
    _train(network, x, y, course, path, key, heard)
    if not all(bool(each.isfinite().all()) for each in network.parameters()):
        raise DataError(f"nothing was learnt from {data}: weights are not finite", remedy="lower the learning rate")
    event = PublicTraining(data=data, digest=of, what="features")
    return PublicFeatures(f"public-{course.layers}-{key}", (event,), convolutions)


def _network(channels: int, classes: int, course: PublicCourse) -> tuple[nn.Sequential, nn.Sequential]:
    """The whole network, and those of its layers that give the features."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(course.seed)
        layers: list[nn.Module] = []
        for before, width, kernel, stride in zip((channels, *_WIDTHS), _WIDTHS, (5, 3, 3), (2, 2, 1), strict=False):
            layers += [
                nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=False),
                nn.GroupNorm(_NORM_GROUPS, width),
                nn.ReLU(),
            ]
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(_WIDTHS[-1], classes)]
        return nn.Sequential(*layers, *head), nn.Sequential(*layers[: 3 * course.layers])


def _train(
    network: nn.Sequential,
    x: Tensor,
    y: Tensor,
    course: PublicCourse,
    path: Path,
    key: str,
    heard: Callable[[int], None] | None,
) -> None:
    names, parameters = zip(*network.named_parameters(), strict=True)
    velocities = [torch.zeros_like(each) for each in parameters]
    begun = _resume(path, key, network, dict(zip(names, velocities, strict=True)))
    batches = -(-len(x) // _BATCH)
    for epoch in range(begun, course.epochs):
        order = torch.from_numpy(np.random.default_rng([course.seed, epoch]).permutation(len(x)))
        for at, rows in enumerate(torch.split(order, _BATCH)):
            done = (epoch * batches + at) / (course.epochs * batches)
            loss = F.cross_entropy(network(x[rows]), y[rows])
            gradients = torch.autograd.grad(loss, parameters)
            rate = course.learning_rate * (1 + math.cos(math.pi * done)) / 2
            with torch.no_grad():
                for value, velocity, gradient in zip(parameters, velocities, gradients, strict=True):
                    velocity.mul_(_MOMENTUM).add_(gradient).add_(value, alpha=_DECAY)
                    value.sub_(velocity, alpha=rate)
        state = {f"network/{name}": value.detach() for name, value in zip(names, parameters, strict=True)}
        state |= {f"velocity/{name}": value for name, value in zip(names, velocities, strict=True)}
        write_state(path, key, state | {"epochs": torch.tensor(epoch + 1)})
        if heard is not None:
            heard(epoch + 1)


def _resume(path: Path, key: str, network: nn.Sequential, velocities: dict[str, Tensor]) -> int:
    """Take what was written before; how many epochs that were.  A damaged file counts as none."""
    state = read_state(path, key)
    if state is None:
        return 0
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.copy_(state[f"network/{name}"])
            velocities[name].copy_(state[f"velocity/{name}"])
    return int(state["epochs"])


def _check(x: Tensor, y: Tensor, classes: int) -> None:
    if x.ndim != 4 or not len(x) or x.dtype != torch.float32:
        raise DataError(f"public inputs are {x.dtype} {list(x.shape)}", remedy="give float32 images [N, C, H, W]")
    if y.shape != (len(x),) or y.dtype != torch.int64 or int(y.min()) < 0 or int(y.max()) >= classes:
        raise DataError(
            f"labels {y.dtype} {list(y.shape)} do not belong to {len(x)} public images of {classes} classes",
            remedy=f"give one int64 label in 0..{classes - 1} for each image",
        )
