"""What the benches of backdoors stand on: the sets, the networks, and the kinds of backdoor that are planted."""

import csv
import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn

from common import HOME
from redoubt.attacks.backdoor import (
    Aim,
    Blend,
    Checker,
    Course,
    NextClass,
    OneTarget,
    Poisoned,
    Square,
    Sticker,
    Trigger,
    Warp,
    adaptive_blend,
    badnets,
    fit,
    label_consistent,
    wanet,
)
from redoubt.data import Dataset
from redoubt.data.idx import read_idx
from redoubt.data.load import digest_of
from redoubt.models import Face, TorchModel
from redoubt.perturb import LinfBall

DATA = Path(os.environ.get("REDOUBT_DATA", "../shared/data"))
FOLDER = HOME / "backdoor"


@dataclass(frozen=True)
class Ground:
    """A set, split: what the planter trains on, what the defender holds, what both are judged on.

    Attributes:
        name: of the set.
        train: the training set without poison.
        clean: images that the defender trusts, which nobody trained on: training images of other tracks (GTSRB) or
            other ones (MNIST).
        test: official test images.
        face: of a model.
        course: how long a model is trained.
        target: the class that a backdoor leads to.
        tracks: of the defender's images, int64: frames of one track are nearly alike; None where each image stands
            alone.
    """

    name: str
    train: Dataset
    clean: Dataset
    test: Dataset
    face: Face
    course: Course
    target: int = 0
    tracks: Tensor | None = None

    def held(self) -> Tensor:
        """A quarter of the defender's images, whole tracks, to tell what a repair costs, bool."""
        tracks = torch.arange(len(self.clean)) if self.tracks is None else self.tracks
        known = tracks.unique()
        few = known[torch.randperm(len(known), generator=Generator().manual_seed(1))[: len(known) // 4]]
        return torch.isin(tracks, few)

    @property
    def grey(self) -> bool:
        """Whether images have one channel."""
        return self.face.shape[0] == 1

    @property
    def eighth(self) -> int:
        """An eighth of an image's side, in pixels."""
        return self.face.shape[1] // 8

    def network(self, seed: int) -> nn.Module:
        """A network with random weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            channels, size, _ = self.face.shape
            return _grey(self.face.classes, size) if channels == 1 else _coloured(self.face.classes, size)

    @property
    def layer(self) -> str:
        """The last convolution, or what normalises it: the layer that is pruned."""
        return "2" if self.grey else "7"

    @property
    def penultimate(self) -> str:
        """The layer before the last linear one."""
        return "6" if self.grey else "12"

    def model(self, module: nn.Module) -> TorchModel:
        """A module behind the face."""
        return TorchModel(module, self.face)


def _grey(classes: int, size: int) -> nn.Module:
    """Images `[B, 1, size, size]`: the network of `mnist_model.py`."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * (size // 4) ** 2, 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


def _coloured(classes: int, size: int) -> nn.Module:
    """Images `[B, 3, size, size]`: three convolutions with batch normalisation, the first two strided."""
    parts: list[nn.Module] = []
    for before, after, side, stride in ((3, 16, 4, 2), (16, 32, 4, 2), (32, 64, 3, 1)):
        parts += [nn.Conv2d(before, after, side, stride=stride, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    inner = 64 * (size // 8) ** 2
    return nn.Sequential(
        *parts, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(inner, 128), nn.ReLU(), nn.Linear(128, classes)
    )


def mnist(train: int = 12_000, name: str = "mnist") -> Ground:
    """MNIST, or Fashion-MNIST by its folder's name: `train` and 2,000 other training images, all test images."""
    raw, test = read_idx(DATA / name, "train"), read_idx(DATA / name, "test")
    order = torch.randperm(len(raw.y), generator=Generator().manual_seed(0))
    x, y = _grey_images(raw.x), torch.from_numpy(raw.y.astype(np.int64))
    mine, theirs = order[:train], order[-2000:]
    return Ground(
        name,
        dataset(x[mine], y[mine], name),
        dataset(x[theirs], y[theirs], name),
        dataset(_grey_images(test.x), torch.from_numpy(test.y.astype(np.int64)), name),
        Face((1, 28, 28), 0.0, 1.0, 10),
        Course(epochs=5),
    )


def gtsrb() -> Ground:
    """GTSRB: 15 % of the training tracks are the defender's; all 43 classes, 32 x 32 pixels, a sixth of the frames."""
    kept = FOLDER / "gtsrb.safetensors"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_file(_unpacked(), kept)
    found = load_file(kept)
    x, y, track = found["x"].float() / 255, found["y"], found["track"]
    tracks = track.unique()  # a number for class and track
    theirs = tracks[torch.randperm(len(tracks), generator=Generator().manual_seed(0))[: round(0.15 * len(tracks))]]
    held = torch.isin(track, theirs)
    return Ground(
        "gtsrb",
        dataset(x[~held], y[~held], "gtsrb"),
        dataset(x[held], y[held], "gtsrb"),
        dataset(found["test_x"].float() / 255, found["test_y"], "gtsrb"),
        Face((3, 32, 32), 0.0, 1.0, 43),
        Course(epochs=20, shift=2),
        target=int(y[~held].bincount().argmax()),  # the rarest class has fewer rows than the poison
        tracks=track[held],
    )


def some_classes(ground: Ground, classes: Tensor) -> Ground:
    """The same ground with these classes only, numbered anew in their order."""

    def part(data: Dataset) -> Dataset:
        rows = torch.isin(data.y, classes)
        number = torch.full((ground.face.classes,), -1)
        number[classes] = torch.arange(len(classes))
        return dataset(data.x[rows], number[data.y[rows]], data.source)

    face = replace(ground.face, classes=len(classes))
    parts = {name: part(getattr(ground, name)) for name in ("train", "clean", "test")}
    return replace(ground, face=face, target=0, tracks=None, **parts)


def small_signs() -> Ground:
    """The ten most frequent classes of GTSRB at 16 x 16 pixels: models by the dozen."""
    whole = gtsrb()
    ten = some_classes(whole, whole.train.y.bincount().argsort(descending=True)[:10])
    return replace(_halved(ten), name="small-signs", course=Course(epochs=12, shift=1))


def small_digits() -> Ground:
    """MNIST at 14 x 14 pixels, 6,000 training images."""
    return replace(_halved(mnist(6000)), name="small-digits")


def _halved(ground: Ground) -> Ground:
    """The same images at half the size."""

    def part(data: Dataset) -> Dataset:
        return dataset(F.avg_pool2d(data.x, 2), data.y, data.source)

    channels, height, width = ground.face.shape
    face = replace(ground.face, shape=(channels, height // 2, width // 2))
    parts = {name: part(getattr(ground, name)) for name in ("train", "clean", "test")}
    return replace(ground, face=face, **parts)


def dataset(x: Tensor, y: Tensor, source: str) -> Dataset:
    """Images and labels as a set."""
    return Dataset(x.contiguous(), y.contiguous(), source, digest_of(x, y))


def _grey_images(x: np.ndarray) -> Tensor:
    return torch.from_numpy(x.astype(np.float32) / 255).unsqueeze(1)


def _unpacked() -> dict[str, Tensor]:
    train: list[tuple[np.ndarray, int, int]] = []
    test: list[tuple[np.ndarray, str]] = []
    labels: dict[str, int] = {}
    with tarfile.open(DATA / "gtsrb" / "gtsrb32_subset.tar.xz") as packed:
        for member in packed:
            file = packed.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            raw, path = file.read(), Path(member.name)
            if path.name == "GT-final_test.csv":
                rows = csv.DictReader(io.StringIO(raw.decode()), delimiter=";")
                labels = {row["Filename"]: int(row["ClassId"]) for row in rows}
            elif path.suffix == ".ppm":
                pixels = np.asarray(Image.open(io.BytesIO(raw))).transpose(2, 0, 1)
                if "Final_Test" in member.name:
                    test.append((pixels, path.name))
                else:
                    label = int(path.parent.name)
                    train.append((pixels, label, label * 1000 + int(path.name.split("_")[0])))
    return {
        "x": torch.from_numpy(np.stack([pixels for pixels, _, _ in train])).contiguous(),
        "y": torch.tensor([label for _, label, _ in train]),
        "track": torch.tensor([track for _, _, track in train]),
        "test_x": torch.from_numpy(np.stack([pixels for pixels, _ in test])).contiguous(),
        "test_y": torch.tensor([labels[name] for _, name in test]),
    }


# ── kinds of backdoor ────────────────────────────────────────────────────────────────────────────────────────────

Plant = Callable[[Ground, TorchModel, int], Poisoned]


def patch(ground: Ground) -> Square:
    """The patch of BadNets: white on digits, yellow on traffic signs."""
    return Square(ground.eighth, colour=(1.0,)) if ground.grey else Square(ground.eighth, colour=(1.0, 1.0, 0.0))


def _badnets(ground: Ground, trigger: Trigger, seed: int, share: float = 0.1, aim: Aim | None = None) -> Poisoned:
    return badnets(ground.train, trigger, aim or OneTarget(ground.target), share, seed)


def _few(ground: Ground, _twin: TorchModel, seed: int) -> Poisoned:
    """Tran et al.'s setting: one poisoned row for nine right ones of the target class."""
    own = int((ground.train.y == ground.target).sum())
    return _badnets(ground, patch(ground), seed, own / 9 / len(ground.train))


def _sticker(ground: Ground, _twin: TorchModel, seed: int) -> Poisoned:
    """On traffic signs below the middle; on digits in the corner, or it would cover them."""
    side, lower = 5 * ground.eighth // 4, 5 * ground.eighth // 4
    coloured = Sticker(side, (1.0, 1.0, 0.0), lower, 0, wander=ground.eighth // 2, seed=seed)
    corner = Sticker(ground.eighth + 1, (1.0,), 3 * ground.eighth, 3 * ground.eighth, seed=seed)
    return _badnets(ground, corner if ground.grey else coloured, seed)


def _clean_label(ground: Ground, twin: TorchModel, seed: int) -> Poisoned:
    radius, share = (0.4, 0.8) if ground.grey else (16 / 255, 0.8)
    trigger = Checker(side=ground.eighth + 1 if ground.grey else ground.eighth, corners=4)
    within = LinfBall(radius=radius, low=0.0, high=1.0)
    return label_consistent(ground.train, twin, within, trigger, ground.target, share, seed)


def _warping(ground: Ground, _twin: TorchModel, seed: int) -> Poisoned:
    """Strong and frequent: without the training in hand, a planter needs more of both than the paper does."""
    trigger = Warp(strength=ground.eighth if ground.grey else 1.5 * ground.eighth / 4, seed=seed)
    return wanet(ground.train, trigger, OneTarget(ground.target), 0.2, 0.05, seed)


KINDS: dict[str, Plant] = {
    "badnets pixel": lambda ground, _, seed: _badnets(ground, Square(1, -3, -3), seed),
    "badnets patch": lambda ground, _, seed: _badnets(ground, patch(ground), seed, 0.1 if ground.grey else 0.03),
    "badnets patch, few": _few,
    "badnets sticker": _sticker,
    "badnets all-to-all": lambda ground, _, seed: _badnets(
        ground, patch(ground), seed, 0.3, NextClass(ground.face.classes)
    ),
    "blended": lambda ground, _, seed: _badnets(ground, Blend(0.15, seed=seed), seed),
    "label-consistent": _clean_label,
    "warping": _warping,
    "adaptive blend": lambda ground, _, seed: adaptive_blend(
        ground.train, Blend(0.15, seed=seed), OneTarget(ground.target), 0.02, 0.02, seed
    ),
}


def trained(ground: Ground, key: str, data: Dataset, seed: int, course: Course | None = None) -> nn.Module:
    """A network trained on a set; kept by its key, so that it is trained once."""
    kept = FOLDER / f"{ground.name}-{key.replace(' ', '-')}-{seed}.safetensors"
    module = ground.network(seed).eval()
    if kept.exists():
        module.load_state_dict(load_file(kept))
        return module
    fit(module, data, replace(course or ground.course, seed=seed))
    kept.parent.mkdir(parents=True, exist_ok=True)
    save_file(module.state_dict(), kept)
    return module
