"""The trusted examples of a repair: one half to train on, one to see what it costs."""

import torch
from torch import Generator, nn

from redoubt.data import Dataset

_ASKED = 500


def halves(data: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """Two halves without a row in common."""
    order = torch.randperm(len(data), generator=Generator().manual_seed(seed))
    middle = (len(data) + 1) // 2
    first, second = (
        Dataset(data.x[rows], data.y[rows], data.source, data.digest) for rows in (order[:middle], order[middle:])
    )
    return first, second


@torch.no_grad()
def accuracy(module: nn.Module, data: Dataset) -> float:
    """Share of the examples that a module in evaluation mode calls by their labels."""
    parts = zip(torch.split(data.x, _ASKED), torch.split(data.y, _ASKED), strict=True)
    return sum(int((module(x).argmax(dim=1) == y).sum()) for x, y in parts) / len(data)
