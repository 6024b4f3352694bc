"""Better slopes and multipliers by gradient ascent: alpha-CROWN (Xu et al. 2021) and beta-CROWN (Wang et al. 2021).

Whatever the ascent finds, the bound is sound: slopes are held in their range, multipliers at 0 or more.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from redoubt.bounds.network.graph import Graph
from redoubt.bounds.network.ops import Relu, SShape
from redoubt.bounds.relaxed.crown import Costs, Splits, Swept, sweep
from redoubt.bounds.relaxed.interval import Pair
from redoubt.bounds.relaxed.lines import start_slopes, steepest
from redoubt.bounds.relaxed.region import Region


@dataclass(frozen=True)
class Ascent:
    """How slopes and multipliers are looked for.

    Attributes:
        steps: of Adam.
        slope_rate, multiplier_rate: learning rates.
        decay: of both, by each step.
    """

    steps: int = 20
    slope_rate: float = 0.1
    multiplier_rate: float = 0.1
    decay: float = 0.97


@dataclass(frozen=True)
class Tuned:
    """What the ascent found: the parameters, and the bound that they give."""

    slopes: dict[int, Tensor]
    multipliers: dict[int, Tensor]
    swept: Swept


def first_slopes(graph: Graph, before: Mapping[int, Pair], rows: int) -> dict[int, Tensor]:
    """Slopes to start with, for S rows: those that CROWN takes."""
    slopes: dict[int, Tensor] = {}
    for at, (low, high) in before.items():
        op = graph.steps[at - 1].op
        if isinstance(op, Relu):
            slopes[at] = (high > -low).to(low.dtype)[:, None].expand(-1, rows, -1).clone()
        elif isinstance(op, SShape):
            slopes[at] = start_slopes(op, low, high, rows)
    return slopes


def tune(
    graph: Graph,
    region: Region,
    a: Tensor,
    before: Mapping[int, Pair],
    costs: Costs,
    slopes: Mapping[int, Tensor],
    signs: Mapping[int, Tensor] | None = None,
    multipliers: Mapping[int, Tensor] | None = None,
    ascent: Ascent | None = None,
    goal: Tensor | None = None,
) -> Tuned:
    """Raise the lower bounds of a·output, `a` `[B, S, m]`, each by itself.

    Args:
        graph: see `sweep`.
        region: see `sweep`.
        a: rows on the output.
        before: see `sweep`.
        costs: of rounding, in the bound that is returned.
        slopes: to start from.
        signs: see `Splits`.
        multipliers: to start from; 0 where None.
        ascent: how long.
        goal: `[B, S]`; a sub-problem with a row above its goal needs no more, and the ascent ends when none does.
    """
    ascent = ascent or Ascent()
    signs = signs or {}
    start = len(graph.steps)
    best_slopes = {at: value.clone() for at, value in slopes.items()}
    best_push = {
        at: (multipliers or {}).get(at, a.new_zeros(*a.shape[:2], sign.shape[1])) for at, sign in signs.items()
    }
    live_slopes = {at: value.clone().requires_grad_() for at, value in best_slopes.items()}
    live_push = {at: value.clone().requires_grad_() for at, value in best_push.items()}
    groups = [
        {"params": list(live_slopes.values()), "lr": ascent.slope_rate},
        {"params": list(live_push.values()), "lr": ascent.multiplier_rate},
    ]
    optimizer = (
        torch.optim.Adam([group for group in groups if group["params"]])
        if ascent.steps and (live_slopes or live_push)
        else None
    )
    best = a.new_full(a.shape[:2], -torch.inf)
    for number in range(ascent.steps + 1 if optimizer else 0):
        swept = sweep(graph, region, start, a, before, slopes=live_slopes, splits=Splits(signs, live_push))
        better = swept.bound.detach() > best
        best = torch.where(better, swept.bound.detach(), best)
        for live, kept in ((live_slopes, best_slopes), (live_push, best_push)):
            for at, value in live.items():
                mask = better.view(*better.shape, *[1] * (value.dim() - 2))
                kept[at] = torch.where(mask, value.detach(), kept[at])
        if number == ascent.steps or (goal is not None and bool((best > goal).any(dim=1).all())):
            break
        optimizer.zero_grad()  # type: ignore[union-attr]
        (-swept.bound.sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()  # type: ignore[union-attr]
        for group in optimizer.param_groups:  # type: ignore[union-attr]
            group["lr"] *= ascent.decay
        with torch.no_grad():
            for at, value in live_slopes.items():
                op = graph.steps[at - 1].op
                value.clamp_(*((0.0, 1.0) if isinstance(op, Relu) else (1e-9, steepest(op))))  # type: ignore[arg-type]
            for value in live_push.values():
                value.clamp_(min=0.0)
    with torch.no_grad():
        swept = sweep(graph, region, start, a, before, slopes=best_slopes, splits=Splits(signs, best_push), costs=costs)
    return Tuned(best_slopes, best_push, swept)
