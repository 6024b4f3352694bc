"""The one verb: whether there is an input that breaks the property.

1 bound each case by intervals and linear bounds; what is ruled out is done; 2 search for a counterexample by gradients;
3 tune the slopes of the lines; 4 branch: halve boxes where there are few inputs, split ReLUs elsewhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from redoubt.bounds.complete.boxes import MOST_INPUTS, split_boxes
from redoubt.bounds.complete.cases import Batch, Case, side_by_side
from redoubt.bounds.complete.falsify import Descent, falsify, gaps
from redoubt.bounds.complete.splits import split_relus
from redoubt.bounds.complete.trials import Run, Trials
from redoubt.bounds.network.graph import Graph, without_largest
from redoubt.bounds.relaxed.crown import Stopped, bounds_before, costs_of, never, sweep
from redoubt.bounds.relaxed.interval import Pair
from redoubt.bounds.relaxed.region import Region


@dataclass(frozen=True)
class Effort:
    """How much work a proof may take.

    Attributes:
        parts: sub-problems to bound, at most; None for no limit.
        stop: asked now and then; whether to give up now.
        search: how long to look for a counterexample by gradients; None for not at all.
    """

    parts: int | None = None
    stop: Callable[[], bool] = never
    search: Descent | None = field(default_factory=Descent)


@dataclass(frozen=True)
class Proof:
    """What came of it.

    Attributes:
        answer: `proved`: no input breaks the property.  `counterexample`: the model was run on `x`, which does.
            `unknown`: neither.
        why: of an unknown: `stopped` by `Effort.stop`, `parts` spent, or `stuck`: what is left could not be decided
            in this arithmetic, or by these splits.
        x: float32 `[n]`.
        parts: sub-problems that were bounded.
    """

    answer: Literal["proved", "counterexample", "unknown"]
    why: Literal["", "stopped", "parts", "stuck"] = ""
    x: Tensor | None = None
    parts: int = 0


def prove(graph: Graph, cases: Sequence[Case], effort: Effort | None = None, run: Run | None = None) -> Proof:
    """Rule out all cases, or find an input that meets one.

    `proved` holds for the network in real arithmetic, with its weights as they are stored (see `crown`); what a
    machine's own rounding makes of an output that is nearly at a limit is not covered.  `counterexample` holds for the
    model as `run` runs it.

    Complete, given time, for networks of ReLUs (and what is made of them: LeakyReLU, max pooling, clipping) over
    boxes, up to cases that are met by no more than rounding; not so with sigmoid or tanh, unless there are at most
    8 inputs, nor over L2 and L1 balls.

    Args:
        graph: any precision; what is proved is of its weights in float64.
        cases: at least one, all with regions of one kind.
        effort: unlimited when None.
        run: the model as deployed, on which counterexamples are tried; the graph itself when None.

    Raises:
        ValueError: no case, or one that does not fit the graph, or a region without a point or without an end.

    >>> from redoubt.bounds.network.from_torch import from_torch
    >>> graph = from_torch(torch.nn.Linear(1, 2), (1,))
    >>> box = Region(torch.tensor([[0.0]]).double(), torch.tensor([[1.0]]).double())
    >>> everything = Case(box, torch.zeros(1, 2).double(), torch.ones(1).double())  # 0 <= 1: always met
    >>> prove(graph, [everything]).answer
    'counterexample'
    """
    effort = effort or Effort()
    frozen = without_largest(graph.frozen())
    _check(frozen, cases)
    trials = Trials(run or frozen_run(frozen), cases)
    with torch.no_grad():
        try:
            return _prove(frozen, cases, effort, trials)
        except Stopped:
            return Proof("unknown", "stopped" if effort.stop() else "parts")


def frozen_run(graph: Graph) -> Run:
    """The graph itself as the model that is asked."""
    return lambda x: graph(x.double())


def _check(graph: Graph, cases: Sequence[Case]) -> None:
    if not cases:
        raise ValueError("there is no case to rule out")
    for case in cases:
        if case.region.lower.shape != (1, graph.size) or case.rows.shape[1:] != (graph.outputs,):
            raise ValueError(
                f"a case of {case.region.lower.shape[1]} inputs and {case.rows.shape[1]} outputs "
                f"for a network of {graph.size} and {graph.outputs}"
            )
        if not bool((case.region.lower <= case.region.upper).all()):
            raise ValueError("a region whose lower bound is above its upper bound")
        if not bool(case.region.lower.isfinite().all() and case.region.upper.isfinite().all()):
            raise ValueError("a region without an end")
        if case.region.is_box != cases[0].region.is_box or len(case.limits) != len(case.rows) or not len(case.rows):
            raise ValueError("cases of different kinds")


def _prove(graph: Graph, cases: Sequence[Case], effort: Effort, trials: Trials) -> Proof:
    batch = side_by_side(cases)
    costs = costs_of(graph, batch.region)
    before = _shared_bounds(batch, lambda region: bounds_before(graph, region, costs, stop=effort.stop))
    made = len(cases)
    swept = sweep(graph, batch.region, len(graph.steps), batch.rows, before, costs=costs)
    left = (~((swept.bound - batch.limits).amax(dim=1) > 0)).nonzero().squeeze(1)  # NaN is nothing proved
    if not len(left):
        return Proof("proved", parts=made)
    batch, numbers = batch.only(left), left.tolist()
    before = {at: (low[left], high[left]) for at, (low, high) in before.items()}
    if effort.search is not None:
        with torch.enable_grad():
            points = falsify(graph, batch, effort.search, effort.stop)
        met = gaps(graph, batch, points[:, None])[:, 0] <= 0
        for at in met.nonzero().squeeze(1).tolist():
            if trials.offer(numbers[at], points[at : at + 1]):
                return Proof("counterexample", x=trials.found, parts=made)

    def stop(bounded: int) -> bool:
        return effort.stop() or (effort.parts is not None and made + bounded >= effort.parts)

    if graph.size <= MOST_INPUTS:
        end, more = split_boxes(graph, batch, numbers, costs, trials, stop)
    else:
        with torch.enable_grad():
            end, more = split_relus(graph, batch, numbers, before, costs, trials, stop)
    made += more
    if end == "counterexample":
        return Proof("counterexample", x=trials.found, parts=made)
    if end == "proved":
        return Proof("proved", parts=made)
    if end == "stuck":
        return Proof("unknown", "stuck", parts=made)
    return Proof("unknown", "stopped" if effort.stop() else "parts", parts=made)


def _shared_bounds(batch: Batch, compute: Callable[[Region], dict[int, Pair]]) -> dict[int, Pair]:
    """Bounds for each case, computed once for cases of one region."""
    places: dict[bytes, int] = {}
    first: list[int] = []
    which: list[int] = []
    for at in range(len(batch.rows)):
        key = b"".join(t[at].numpy().tobytes() for t in (batch.region.lower, batch.region.upper))
        if key not in places:
            places[key] = len(first)
            first.append(at)
        which.append(places[key])
    found = compute(batch.region.rows(torch.tensor(first)))
    index = torch.tensor(which)
    return {at: (low[index], high[index]) for at, (low, high) in found.items()}
