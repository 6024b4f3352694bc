"""Teachers who know what public inputs look like: what they say is smoothed over a graph of those.

Looking at public inputs costs no privacy.  A teacher learns from its few records, scores the public inputs, and lets
neighbours pass their scores on to each other (Zhou et al. 2004, learning with local and global consistency).  What it
says depends on its own records and on public inputs only, so one record still moves one vote; but teachers agree far
more often, and agreement is what makes an answer cheap.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array
from torch import Generator, Tensor

from redoubt.harden.pate.student import fitted, squares
from redoubt.records import DataError

_BLOCK = 1024
_NEAREST = 10  # inputs that one is tied to
_SCALE = (
    6  # the how-manieth of them says what is near, from 0 (Zelnik-Manor and Perona 2004, section 2.1, there the 7th)
)


@dataclass(frozen=True)
class Principal:
    """The directions in which public features vary most.

    Attributes:
        mean: float32 `[D]`.
        axes: float32 `[D, d]`, orthonormal.
    """

    mean: Tensor
    axes: Tensor

    @classmethod
    def of(cls, public: Tensor, dimensions: int, generator: Generator) -> "Principal":
        """From public features `[Q, ...]`, by a randomised decomposition (Halko et al. 2011)."""
        flat = public.flatten(1)
        mean = flat.mean(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
            axes = torch.svd_lowrank(flat - mean, q=dimensions + 20, niter=3)[2]
        return cls(mean, axes[:, :dimensions].contiguous())

    def __call__(self, x: Tensor) -> Tensor:
        """Features `[N, ...]` to coordinates, float32 `[N, d]`."""
        return torch.cat([(part - self.mean) @ self.axes for part in torch.split(x.flatten(1), _BLOCK)])


@dataclass(frozen=True)
class Graph:
    """Public inputs, each tied to those nearest to it.

    Attributes:
        points: float32 `[Q, d]`.
        ties: float32 `[Q, Q]`, symmetric, each tie over the roots of what ties its two ends to all.
        apart: float32 `[Q]`: the mean squared distance to the nearest; what has little is typical.
        median: squared distance of two points, in the middle.
    """

    points: Tensor
    ties: csr_array
    apart: Tensor
    median: float

    @classmethod
    def of(cls, points: Tensor) -> "Graph":
        """The graph of public points, float32 `[Q, d]`.

        Raises:
            DataError: there are too few.
        """
        if points.ndim != 2 or len(points) <= _NEAREST:
            raise DataError(f"{list(points.shape)} points make no graph", remedy=f"give more than {_NEAREST} points")
        found, at = _nearest(points)
        scale = found[:, _SCALE].sqrt().clamp_min(torch.finfo(torch.float32).tiny)
        near = torch.exp(-found / (scale.unsqueeze(1) * scale[at]))
        starts = np.arange(0, near.numel() + 1, _NEAREST)
        one_way = csr_array((near.numpy().ravel(), at.numpy().ravel(), starts), shape=(len(points), len(points)))
        both = one_way.maximum(one_way.T)
        evened = diags_array(1 / np.sqrt(both.sum(axis=1), dtype=np.float32))
        some = points[:: max(1, len(points) // 500)]
        return cls(points, (evened @ both @ evened).tocsr(), found.mean(1), float(squares(some, some).median()))

    def smoothed(self, scores: Tensor, passed: float, steps: int) -> Tensor:
        """Scores `[Q, K]` after each point has passed a share of what it holds to its neighbours, so many times."""
        given = scores.numpy()
        held = given
        for _ in range(steps):
            held = passed * (self.ties @ held) + given
        return torch.from_numpy(held)


@dataclass(frozen=True)
class Smoothed:
    """A teacher, see `Teach`: kernel least squares, smoothed.  It can be asked about the points of its graph only.

    Attributes:
        graph: of the public inputs.
        classes: K.
        reach: the kernel's width, in median squared distances of the public inputs.
        ridge: the penalty; the kernel's diagonal is 1.
        passed: the share of a score that is passed on, in 0..1.
        steps: how far.
    """

    graph: Graph
    classes: int
    reach: float = 2.0
    ridge: float = 0.01
    passed: float = 0.5
    steps: int = 3

    def __call__(self, x: Tensor, y: Tensor, public: Tensor) -> Tensor:
        """Learns from coordinates `[n, d]` and labels `[n]`.

        Raises:
            DataError: `public` are not the points of the graph.
        """
        if not torch.equal(public, self.graph.points):
            raise DataError("the inputs are not those of the graph", remedy="ask about the graph's points")
        scores = fitted(x, y, self.classes, self.reach * self.graph.median, self.ridge).scores(public)
        return self.graph.smoothed(scores, self.passed, self.steps).argmax(1)


def _nearest(points: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances of each point to the nearest others, ascending, and which they are; both `[Q, nearest]`."""
    found = []
    for at, part in enumerate(torch.split(points, _BLOCK)):
        apart = squares(part, points)
        own = torch.arange(len(part))
        apart[own, at * _BLOCK + own] = torch.inf
        found.append(apart.topk(_NEAREST, dim=1, largest=False))
    return torch.cat([one.values for one in found]), torch.cat([one.indices for one in found])
