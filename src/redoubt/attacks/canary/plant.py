"""Records whose presence in a training shows as much as a guarantee lets it."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from redoubt.records import DataError


@dataclass(frozen=True)
class Canaries:
    """Planted records.

    Attributes:
        x: float32 `[m, *shape]`.
        y: int64 `[m]`.
        kind: how they were made, for the record.
    """

    x: Tensor
    y: Tensor
    kind: str

    def __len__(self) -> int:
        return len(self.y)

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or not len(self.y):
            raise DataError(f"{len(self.x)} canaries and {len(self.y)} labels", remedy="give one label for each")


def dirac(count: int, width: int, classes: int, size: float = 1e3) -> Canaries:
    """Records of a linear model that have a feature each to themselves: the Dirac canaries of Nasr et al. 2023.

    The gradient of one is the `size` of its feature, in a direction that no other record moves, provided that the other
    records have 0 in the first `count` features.  A correct training clips it; what does not clip, or clips all of a
    batch together, lets it through.

    Args:
        count: m, at most `width`.
        width: features of the model.
        classes: labels are spread over them.
        size: value of the feature; far above the clip.

    Raises:
        DataError: there are fewer features than canaries.
    """
    if not 1 <= count <= width:
        raise DataError(f"{count} canaries, each with a feature of its own, in {width} features", remedy="plant fewer")
    x = torch.zeros(count, width)
    x[:, :count] = torch.eye(count) * size
    return Canaries(x, torch.arange(count) % classes, "dirac")


def mislabelled(x: Tensor, y: Tensor, classes: int, count: int, generator: Generator) -> Canaries:
    """Real records under another label, each drawn once: what they change, nobody else in the data does.

    For any model (Nasr et al. 2021, Steinke et al. 2023).  Weaker than `dirac`: they look like one another, and
    the model learns some of them by itself.

    Args:
        x: records `[N, *shape]`, which are not trained on under their own labels.
        y: int64 `[N]`.
        classes: K, at least 2.
        count: m, at most N.
        generator: which records, and which labels.

    Raises:
        DataError: there are fewer records than canaries, or one class.
    """
    if not 1 <= count <= len(y) or classes < 2:
        raise DataError(f"{count} canaries from {len(y)} records of {classes} classes", remedy="plant fewer")
    rows = torch.randperm(len(y), generator=generator)[:count]
    turn = torch.randint(1, classes, (count,), generator=generator)
    return Canaries(x[rows], (y[rows] + turn) % classes, "mislabelled")
