"""A check of training data against wrong labels: do a row's neighbours agree with it? (Peri et al. 2020, deep k-NN).

A model is trained on the data as they are; in the features of its last layer, each row's k nearest other rows vote, and
rows whose label is not the one with most votes are left out.  The model is then trained again on what is left.

Not covered: poison whose label is right and whose features stay among its own class, which gradient matching makes; an
adversary who knows the check and changes only what passes it (`passing` says what does); many poisons side by side that
vouch for each other, where k is not well above their number.
"""

import torch
from torch import Tensor

from redoubt.data import Dataset, digest_of
from redoubt.detectors.nearest import Nearest
from redoubt.records import DataError


def votes(features: Tensor, y: Tensor, classes: int, k: int) -> Tensor:
    """How many of the k nearest other rows have each label, by cosine similarity.

    Args:
        features: finite floats `[N, D]`.
        y: int64 `[N]`.
        classes: K.
        k: neighbours, at least 1 and below N.

    Returns:
        int64 `[N, K]`, rows of which sum to k.

    Raises:
        DataError: there are too few rows.
    """
    if not 1 <= k < len(y):
        raise DataError(f"{k} neighbours among {len(y)} rows", remedy="take more rows, or fewer neighbours")
    unit = torch.nn.functional.normalize(features.float(), dim=1)
    similar, where = Nearest(unit).search(unit, k + 1)
    own = where == torch.arange(len(y))[:, None]
    # Without itself; or, of rows that many others equal, where it is not among the nearest, without the farthest.
    last = similar.masked_fill(own, -torch.inf).argmin(dim=1)
    kept = torch.ones_like(own).scatter_(1, last[:, None], False)
    return torch.zeros(len(y), classes, dtype=torch.int64).scatter_add_(1, y[where], kept.long())


def passing(features: Tensor, y: Tensor, classes: int, k: int) -> Tensor:
    """Bool `[N, K]`: the labels that the check lets each row have, those with most votes of its neighbours."""
    found = votes(features, y, classes, k)
    return found == found.max(dim=1, keepdim=True).values


def agreeing(features: Tensor, y: Tensor, classes: int, k: int) -> Tensor:
    """Bool `[N]`: the rows whose label is among those with most votes; the others are to be left out."""
    return passing(features, y, classes, k).gather(1, y[:, None])[:, 0]


def kept_rows(data: Dataset, keep: Tensor) -> Dataset:
    """The data set of those rows.

    Raises:
        DataError: none is kept.
    """
    if not bool(keep.any()):
        raise DataError("no row is kept", remedy="take fewer neighbours")
    x, y = data.x[keep], data.y[keep]
    return Dataset(x, y, data.source, digest_of(x, y))
