"""The search for a counterexample: projected gradient descent on how far a case is from being met."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from redoubt.bounds.complete.cases import Batch
from redoubt.bounds.network.graph import Graph


@dataclass(frozen=True)
class Descent:
    """How long to look.

    Attributes:
        starts: the middle of the region, and random points.
        steps: signed gradient steps from each; they shrink along the way.
        seed: of the random points.
    """

    starts: int = 16
    steps: int = 40
    seed: int = 0


def falsify(graph: Graph, batch: Batch, descent: Descent, stop: Callable[[], bool]) -> Tensor:
    """The most nearly met point of each of B cases, `[B, n]`, and nothing claimed about it.

    Finds nothing where gradients mislead; the branches look for counterexamples too.
    """
    rng = Generator().manual_seed(descent.seed)
    region = batch.region
    width = (region.upper - region.lower)[:, None]
    unit = torch.rand((len(region), descent.starts, region.lower.shape[1]), generator=rng, dtype=torch.float64)
    x = region.inside(region.lower[:, None] + unit.to(width.device) * width)
    x[:, 0] = region.inside(((region.lower + region.upper) / 2)[:, None])[:, 0]
    best = x[:, 0].clone()
    least = torch.full((len(region),), torch.inf, dtype=torch.float64, device=best.device)
    for number in range(descent.steps + 1):
        leaf = x.detach().requires_grad_()
        gap = gaps(graph, batch, leaf)
        nearest, start = gap.detach().min(dim=1)
        better = nearest < least
        least = torch.where(better, nearest, least)
        best = torch.where(better[:, None], x[torch.arange(len(x)), start], best)
        if number == descent.steps or bool((least < 0).all()) or stop():
            break
        (slope,) = torch.autograd.grad(gap.sum(), leaf)
        step = 0.25 * (1 - number / descent.steps) + 0.01
        x = region.inside(x - step * width * slope.sign())
    return best


def gaps(graph: Graph, batch: Batch, x: Tensor) -> Tensor:
    """How far each of `[B, N, n]` points is from meeting its case, `[B, N]`: met at 0 and below."""
    y = graph(x.flatten(0, 1)).view(*x.shape[:2], -1)
    return (torch.einsum("brm,bnm->bnr", batch.rows, y) - batch.limits[:, None]).amax(dim=2)
