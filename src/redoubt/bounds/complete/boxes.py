"""Branch and bound over boxes of inputs: for networks of few inputs (Wang et al. 2018, ReluVal)."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from redoubt.bounds.complete.cases import Batch
from redoubt.bounds.complete.falsify import gaps
from redoubt.bounds.complete.trials import Trials
from redoubt.bounds.network.graph import Graph
from redoubt.bounds.relaxed.crown import Costs, Stopped, bounds_before, sweep

MOST_INPUTS = 8
"""With more inputs than these, halving boxes gets nowhere."""
_AT_ONCE = 128


@dataclass(frozen=True, order=True)
class _Box:
    bound: float
    number: int
    case: int
    lower: Tensor
    upper: Tensor
    axis: int


def split_boxes(
    graph: Graph,
    batch: Batch,
    numbers: Sequence[int],
    costs: Costs,
    trials: Trials,
    stop: Callable[[int], bool],
) -> tuple[str, int]:
    """Halve boxes until each is ruled out, or a counterexample is found.

    Complete up to the last digits: a box too thin to halve is given up.

    Args:
        graph: frozen; without `Largest`.
        batch: the cases that are left.
        numbers: what each is called in `trials`.
        costs: of rounding, over all of them.
        trials: where points are tried.
        stop: whether to give up, asked with the number of boxes bounded so far.

    Returns:
        `proved`, `counterexample`, `stopped` or `stuck`; and how many boxes were bounded.
    """
    waiting: list[_Box] = []
    made = 0

    def bound(which: Tensor, lower: Tensor, upper: Tensor) -> bool:
        """Bound boxes of cases and keep those that are left; whether a counterexample was found."""
        nonlocal made
        made += len(which)
        part = batch.only(which)
        part = Batch(part.region.with_box(lower, upper), part.rows, part.limits)
        before = bounds_before(graph, part.region, costs, stop=lambda: stop(made))
        swept = sweep(graph, part.region, len(graph.steps), part.rows, before, costs=costs)
        margin, row = (swept.bound - part.limits).max(dim=1)
        left = (~(margin > 0)).nonzero().squeeze(1)
        if not len(left):
            return False
        steep = swept.on_input[left, row[left]]
        points = torch.stack(
            [part.region.rows(left).where_least(steep[:, None])[:, 0], (lower[left] + upper[left]) / 2], 1
        )
        met = gaps(graph, part.only(left), points) <= 0
        for at in met.any(dim=1).nonzero().squeeze(1).tolist():
            if trials.offer(numbers[int(which[left[at]])], points[at]):
                return True
        width = upper[left] - lower[left]
        axes = (steep.abs() * width + 1e-9 * width).argmax(dim=1)
        for at, axis in zip(left.tolist(), axes.tolist(), strict=True):
            box = _Box(float(margin[at]), made * 4096 + at, int(which[at]), lower[at], upper[at], axis)
            heapq.heappush(waiting, box)
        return False

    try:
        return _halve(waiting, batch, bound, lambda: stop(made)), made
    except Stopped:
        return "stopped", made


def _halve(
    waiting: list[_Box], batch: Batch, bound: Callable[[Tensor, Tensor, Tensor], bool], stop: Callable[[], bool]
) -> str:
    if bound(torch.arange(len(batch.rows)), batch.region.lower, batch.region.upper):
        return "counterexample"
    stuck = False
    while waiting:
        if stop():
            return "stopped"
        worst = [heapq.heappop(waiting) for _ in range(min(_AT_ONCE, len(waiting)))]
        lower, upper, which = [], [], []
        for box in worst:
            middle = (box.lower[box.axis] + box.upper[box.axis]) / 2
            if not box.lower[box.axis] < middle < box.upper[box.axis]:
                stuck = True
                continue
            first, second = box.upper.clone(), box.lower.clone()
            first[box.axis] = second[box.axis] = middle
            lower += [box.lower, second]
            upper += [first, box.upper]
            which += [box.case, box.case]
        if which and bound(torch.tensor(which), torch.stack(lower), torch.stack(upper)):
            return "counterexample"
    return "stuck" if stuck else "proved"
