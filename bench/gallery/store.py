"""Where the gallery's pictures and weights lie: `.bench/gallery/<name>.safetensors`, learnt when first asked for."""

import fcntl
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gallery.defence import Defence, Ground
from gallery.network import network, train
from redoubt.data import load_data
from redoubt.models.base import Face
from redoubt.records import DataSource

FACE = Face((1, 28, 28), 0.0, 1.0, 10)
NAMES = (
    "jpeg",
    "bit_depth",
    "resize_pad",
    "kwta",
    "distillation",
    "palette",
    "magnet",
    "odds",
    "feature_squeezing",
    "neural_detector",
    "activation_pruning",
    "thermometer",
    "random_vote",
    "deep_knn",
    "output_code",
    "mahalanobis",
)
HELD_OUT = ("output_code", "mahalanobis")
"""Defences that the adaptive search was not developed against."""
WEIGHTS = Path(__file__).resolve().parents[2] / ".bench" / "gallery"
_HELD = 5000


def find(name: str) -> Defence:
    """The defence of that name."""
    return import_module(f"gallery.{name}").DEFENCE


def images(source: str, take: int | None = None) -> tuple[Tensor, Tensor]:
    """Images `[N, 1, 28, 28]` in 0..1 and labels of `mnist/train`, `fashion_mnist/test`, …; `take` of them, seed 0."""
    data = load_data(DataSource(source=f"idx:{source}", take=take, seed=0), FACE, Path.cwd(), lambda *_: None)
    return data.x, data.y


@cache
def _training(data: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images and labels, and 5,000 more that are held out."""
    x, y = images(f"{data}/train")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    held, rest = order[:_HELD], order[_HELD:]
    return x[rest], y[rest], x[held], y[held]


@cache
def plain(data: str) -> nn.Module:
    """The undefended network, in evaluation mode, its parameters fixed."""

    def fit(module: nn.Module) -> None:
        x, y, *_ = _training(data)
        train(module, x, y, epochs=6)

    return _learnt(network, f"plain_{data}", fit)


def ground(data: str) -> Ground:
    """What the defences on that data are learnt from."""
    return Ground(plain(data), *_training(data))


def load(name: str) -> nn.Module:
    """A defence with its weights, in evaluation mode, its parameters fixed."""
    defence = find(name)
    return _learnt(defence.build, name, lambda module: defence.fit(module, ground(defence.data)))


def _learnt(build: Callable[[], nn.Module], name: str, fit: Callable[[nn.Module], None]) -> nn.Module:
    torch.manual_seed(0)
    module, path = build(), WEIGHTS / f"{name}.safetensors"
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    with (WEIGHTS / f"{name}.lock").open("w") as lock:  # two processes do not learn the same one
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            fit(module)
            part = path.with_suffix(".part")
            save_file(module.state_dict(), part)
            part.rename(path)
    module.load_state_dict(load_file(path))
    return module.eval().requires_grad_(False)
