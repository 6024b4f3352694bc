"""Activation clustering: a poisoned class falls into two (Chen et al. 2019)."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from redoubt.detectors.poison.seen import Trained

_DIMENSIONS = 10  # section 4.1
_ROUNDS = 100
_STARTS = 5
_SAMPLED = 500  # examples over which a silhouette is averaged


@dataclass(frozen=True)
class Split:
    """A class, cut in two.

    Attributes:
        label: the class.
        rows: int64, the examples of the smaller part.
        share: of the class that lies in it, 0..0.5: poison makes a part that is much smaller than the other.
        silhouette: how well the two parts are told apart, -1..1: poison makes them well apart.
    """

    label: int
    rows: Tensor
    share: float
    silhouette: float

    def is_suspect(self, share: float = 0.35, silhouette: float = 0.15) -> bool:
        """Whether the smaller part is small, and far from the other.  The paper sets these limits for each data set."""
        return self.share < share and self.silhouette > silhouette


@dataclass(frozen=True)
class Clustered:
    """All classes, cut in two.

    Attributes:
        splits: one for each class of at least 4 examples.
        scores: float64 `[N]`: how much nearer an example lies to the smaller part's centre than to the other's, as a
            share of their distance, -1..1, times the class's silhouette.
    """

    splits: tuple[Split, ...]
    scores: Tensor


def cluster(trained: Trained, seed: int = 0) -> Clustered:
    """Cut every class in two: ten principal components of its features, then 2-means.

    The paper's independent components are replaced by principal ones, whitened, which span the same space.
    What is not covered: as for spectral signatures; classes that fall in two by nature are suspected wrongly.
    """
    splits, scores = [], torch.zeros(len(trained), dtype=torch.float64)
    rng = Generator().manual_seed(seed)
    for label, rows in trained.classes():
        if len(rows) < 4:
            continue
        points = _reduced(trained.features[rows].double())
        second, centres = _two_means(points, rng)
        if int(second.sum()) * 2 > len(rows):
            second, centres = ~second, centres.flip(0)
        apart = (centres[0] - centres[1]).norm().clamp_min(1e-12)
        nearer = ((points - centres[0]).norm(dim=1) - (points - centres[1]).norm(dim=1)) / apart
        shape = _silhouette(points, second)
        scores[rows] = nearer * max(shape, 0.0)
        splits.append(Split(label, rows[second], float(second.double().mean()), shape))
    return Clustered(tuple(splits), scores)


def _reduced(x: Tensor) -> Tensor:
    """The first principal components `[n, at most 10]`."""
    centred = x - x.mean(dim=0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    reduced: Tensor = centred @ vectors[:, -_DIMENSIONS:]
    return reduced


def _two_means(x: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from several starts, each two points far apart; who is in the second part; centres."""
    best, found = float("inf"), None
    for _ in range(_STARTS):
        first = x[torch.randint(len(x), (1,), generator=rng)]
        far = (x - first).square().sum(dim=1)
        other = x[torch.multinomial(far + 1e-12, 1, generator=rng)]
        centres = torch.cat([first, other])
        for _ in range(_ROUNDS):
            second = torch.cdist(x, centres).argmin(dim=1) == 1
            if not second.any() or second.all():
                break
            moved = torch.stack([x[~second].mean(dim=0), x[second].mean(dim=0)])
            if torch.equal(moved, centres):
                break
            centres = moved
        spread = float(torch.cdist(x, centres).amin(dim=1).square().sum())
        if spread < best:
            best, found = spread, (torch.cdist(x, centres).argmin(dim=1) == 1, centres)
    if found is None:
        raise ValueError("features are not finite")
    return found


def _silhouette(x: Tensor, second: Tensor) -> float:
    """Mean silhouette (Rousseeuw 1987) of at most 500 points, evenly taken; 0 where one part is empty."""
    step = max(len(x) // _SAMPLED, 1)
    x, second = x[::step], second[::step]
    if not second.any() or second.all():
        return 0.0
    apart = torch.cdist(x, x)
    of = torch.stack([~second, second]).double()
    sums = apart @ of.T
    mine = torch.where(second, sums[:, 1], sums[:, 0]) / (of.sum(dim=1)[second.long()] - 1).clamp_min(1)
    theirs = torch.where(second, sums[:, 0], sums[:, 1]) / of.sum(dim=1)[1 - second.long()]
    return float(((theirs - mine) / torch.maximum(theirs, mine).clamp_min(1e-12)).mean())
