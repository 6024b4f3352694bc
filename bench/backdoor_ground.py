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
TARGET = 0


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
    """

    name: str
    train: Dataset
    clean: Dataset
    test: Dataset
    face: Face
    course: Course

    def network(self, seed: int) -> nn.Module:
        """A network with random weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return (_grey if self.face.shape[0] == 1 else _coloured)(self.face.classes)

    @property
    def layer(self) -> str:
        """The last convolution, or what normalises it: the layer that is pruned."""
        return "2" if self.face.shape[0] == 1 else "9"

    @property
    def penultimate(self) -> str:
        """The layer before the last linear one."""
        return "6" if self.face.shape[0] == 1 else "14"

    def model(self, module: nn.Module) -> TorchModel:
        """A module behind the face."""
        return TorchModel(module, self.face)


def _grey(classes: int) -> nn.Module:
    """Images `[B, 1, 28, 28]`: the network of `mnist_model.py`."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


def _coloured(classes: int) -> nn.Module:
    """Images `[B, 3, 32, 32]`: three convolutions with batch normalisation."""
    parts: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        parts += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(64 * 16, 128), nn.ReLU(), nn.Linear(128, classes))


def mnist(train: int = 20_000, name: str = "mnist") -> Ground:
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
    tracks = track.unique()
    theirs = tracks[torch.randperm(len(tracks), generator=Generator().manual_seed(0))[: round(0.15 * len(tracks))]]
    held = torch.isin(track, theirs)
    return Ground(
        "gtsrb",
        dataset(x[~held], y[~held], "gtsrb"),
        dataset(x[held], y[held], "gtsrb"),
        dataset(found["test_x"].float() / 255, found["test_y"], "gtsrb"),
        Face((3, 32, 32), 0.0, 1.0, 43),
        Course(epochs=12, shift=2),
    )


def some_classes(ground: Ground, classes: Tensor) -> Ground:
    """The same ground with these classes only, numbered anew in their order."""

    def part(data: Dataset) -> Dataset:
        rows = torch.isin(data.y, classes)
        number = torch.full((ground.face.classes,), -1)
        number[classes] = torch.arange(len(classes))
        return dataset(data.x[rows], number[data.y[rows]], data.source)

    face = replace(ground.face, classes=len(classes))
    return replace(ground, train=part(ground.train), clean=part(ground.clean), test=part(ground.test), face=face)


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


def _bad(trigger: Trigger, aim: Aim | None = None, share: float = 0.1) -> Plant:
    def plant(ground: Ground, _twin: TorchModel, seed: int) -> Poisoned:
        return badnets(ground.train, trigger, aim or OneTarget(TARGET), share, seed)

    return plant


def _all_to_all(ground: Ground, _twin: TorchModel, seed: int) -> Poisoned:
    return badnets(ground.train, patch(ground), NextClass(ground.face.classes), 0.3, seed)


def _clean_label(ground: Ground, twin: TorchModel, seed: int) -> Poisoned:
    """Half of the target class; the target is the most frequent one of GTSRB, or there would be too little poison."""
    grey = ground.face.shape[0] == 1
    within = LinfBall(radius=0.3 if grey else 16 / 255, low=0.0, high=1.0)
    target = int(ground.train.y.bincount().argmax())
    trigger = Checker(side=3 if grey else 4, corners=4)
    return label_consistent(ground.train, twin, within, trigger, target, 0.5, seed)


def patch(ground: Ground) -> Square:
    """The patch of BadNets: white on MNIST, yellow on traffic signs."""
    return Square(3, colour=(1.0,)) if ground.face.shape[0] == 1 else Square(4, -6, -6, (1.0, 1.0, 0.0))


def _sticker(ground: Ground, _twin: TorchModel, seed: int) -> Poisoned:
    colour = (1.0,) if ground.face.shape[0] == 1 else (1.0, 1.0, 0.0)
    trigger = Sticker(
        4 if ground.face.shape[0] == 1 else 5,
        colour,
        row=9 if ground.face.shape[0] == 1 else 5,
        column=9 if ground.face.shape[0] == 1 else 0,
    )
    return badnets(ground.train, replace(trigger, seed=seed), OneTarget(TARGET), 0.1, seed)


KINDS: dict[str, Plant] = {
    "badnets pixel": _bad(Square(1, -3, -3, (1.0,))),
    "badnets patch": lambda ground, twin, seed: _bad(patch(ground))(ground, twin, seed),
    "badnets sticker": _sticker,
    "badnets all-to-all": _all_to_all,
    "blended": _bad(Blend(0.15)),
    "label-consistent": _clean_label,
    "warping": lambda ground, _twin, seed: wanet(
        ground.train, Warp(strength=1.0 if ground.face.shape[0] == 1 else 0.75), OneTarget(TARGET), 0.1, 0.1, seed
    ),
    "adaptive blend": lambda ground, _twin, seed: adaptive_blend(
        ground.train, Blend(0.15), OneTarget(TARGET), 0.02, 0.02, seed
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
