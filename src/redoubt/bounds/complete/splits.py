"""Branch and bound over the signs of ReLU inputs (Bunel et al. 2020), with split constraints (Wang et al. 2021).

Complete for networks whose only activations are ReLUs, over boxes: where none is left open, the sub-problem is a linear
program (`leaf`).  With s-shapes, or over L2 and L1 balls, what ReLU splits cannot settle is given up.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from redoubt.bounds.complete.cases import Batch
from redoubt.bounds.complete.falsify import gaps
from redoubt.bounds.complete.leaf import settle
from redoubt.bounds.complete.trials import Trials
from redoubt.bounds.network.graph import Graph, is_complete
from redoubt.bounds.network.ops import Relu
from redoubt.bounds.relaxed.crown import Costs, Splits, Stopped, Swept, bounds_before, sweep
from redoubt.bounds.relaxed.interval import Pair
from redoubt.bounds.relaxed.slopes import Ascent, first_slopes, tune

_AT_ONCE = 64
_CELLS = 3_000_000
_REFRESHED = 700  # with no more ReLUs than these, every sub-problem gets bounds of its own
_TRIED = 4  # candidates for a split whose two halves are bounded before one is taken
_ASCENT = Ascent(steps=20)
_ROOT = Ascent(steps=60)


@dataclass(frozen=True, order=True)
class _Part:
    """A sub-problem that is neither ruled out nor met.

    Attributes:
        bound: how far below 0 its best row is bounded.
        number: tells parts of equal bounds apart.
        case: of the batch.
        signs, before, slopes, multipliers: as in `sweep`, of this part, without the batch.
        candidates: ReLUs to split: activation's number and place.
    """

    bound: float
    number: int
    case: int = field(compare=False)
    signs: dict[int, Tensor] = field(compare=False)
    before: dict[int, Pair] = field(compare=False)
    slopes: dict[int, Tensor] = field(compare=False)
    multipliers: dict[int, Tensor] = field(compare=False)
    candidates: tuple[tuple[int, int], ...] = field(compare=False)


def split_relus(
    graph: Graph,
    batch: Batch,
    numbers: Sequence[int],
    before: Mapping[int, Pair],
    costs: Costs,
    trials: Trials,
    stop: Callable[[int], bool],
) -> tuple[str, int]:
    """Split ReLUs until each sub-problem is ruled out, or a counterexample is found.

    Args:
        graph: frozen; without `Largest`.
        batch: the cases that are left.
        numbers: what each is called in `trials`.
        before: bounds on every activation's input, of each case.
        costs: of rounding, over all of them.
        trials: where points are tried.
        stop: whether to give up, asked with the number of sub-problems bounded so far.

    Returns:
        `proved`, `counterexample`, `stopped` or `stuck`; and how many sub-problems were bounded.
    """
    tree = _Tree(graph, batch, numbers, costs, trials, stop)
    try:
        return tree.grow(before), tree.made
    except Stopped:
        return "stopped", tree.made


class _Tree:
    def __init__(
        self,
        graph: Graph,
        batch: Batch,
        numbers: Sequence[int],
        costs: Costs,
        trials: Trials,
        stop: Callable[[int], bool],
    ) -> None:
        self._graph, self._batch, self._numbers = graph, batch, numbers
        self._costs, self._trials, self._stop = costs, trials, stop
        self._relus = [at for at in graph.bent if isinstance(graph.steps[at - 1].op, Relu)]
        self._small = sum(graph.size_of(at) for at in self._relus) <= _REFRESHED
        widest = max(graph.size_of(at) for at in range(len(graph.steps) + 1))
        self._room = max(min(_CELLS // (widest * batch.rows.shape[1]), _AT_ONCE), 1)
        self._exact = is_complete(graph) and batch.region.is_box
        self._waiting: list[_Part] = []
        self.made, self._count, self._stuck = 0, 0, False

    def grow(self, before: Mapping[int, Pair]) -> str:
        rows = self._batch.rows.shape[1]
        for cases in torch.split(torch.arange(len(self._batch.rows)), self._room):
            if self._stop(self.made):
                return "stopped"
            part = {at: (low[cases], high[cases]) for at, (low, high) in before.items()}
            signs = {at: torch.zeros(len(cases), self._graph.size_of(at), dtype=torch.int8) for at in self._relus}
            if self._bound(cases, part, signs, first_slopes(self._graph, part, rows), {}, _ROOT):
                return "counterexample"
        while self._waiting:
            if self._stop(self.made):
                return "stopped"
            worst = [heapq.heappop(self._waiting) for _ in range(min(self._room // 2 or 1, len(self._waiting)))]
            if self._branch(worst):
                return "counterexample"
        return "stuck" if self._stuck else "proved"

    def _branch(self, parts: list[_Part]) -> bool:
        """Both halves of each part; whether a counterexample was found."""
        chosen = self._choose(parts)
        twice = [part for part in parts for _ in range(2)]
        cases, before, signs, slopes, multipliers = _stack(twice)
        for at, (activation, place) in enumerate(chosen):
            _assume(before, signs, 2 * at, activation, place)
        if self._small:
            wide = {at: sign for at, sign in signs.items() if bool(sign.any())}
            region = self._batch.region.rows(cases)
            before = bounds_before(
                self._graph, region, self._costs, known=before, signs=wide, stop=lambda: self._stop(self.made)
            )
        return self._bound(cases, before, signs, slopes, multipliers, _ASCENT)

    def _bound(
        self,
        cases: Tensor,
        before: dict[int, Pair],
        signs: dict[int, Tensor],
        slopes: dict[int, Tensor],
        multipliers: dict[int, Tensor],
        ascent: Ascent,
    ) -> bool:
        """Bound sub-problems and keep those that are left; whether a counterexample was found."""
        self.made += len(cases)
        possible = torch.stack([(~(low > high)).all(dim=1) for low, high in before.values()]).all(dim=0)
        if not bool(possible.all()):  # bounds that cross: no input is like this
            keep = possible.nonzero().squeeze(1)
            if not len(keep):
                return False
            cases, before = cases[keep], {at: (low[keep], high[keep]) for at, (low, high) in before.items()}
            signs, slopes, multipliers = (
                {at: value[keep] for at, value in each.items()} for each in (signs, slopes, multipliers)
            )
        batch = self._batch.only(cases)
        live = {at: sign.double() for at, sign in signs.items() if bool(sign.any())}
        tuned = tune(
            self._graph, batch.region, batch.rows, before, self._costs, slopes, live, multipliers, ascent, batch.limits
        )
        margin, row = (tuned.swept.bound - batch.limits).max(dim=1)
        left = (~(margin > 0)).nonzero().squeeze(1)
        if not len(left):
            return False
        points = batch.region.rows(left).where_least(tuned.swept.on_input[left, row[left]][:, None])
        met = gaps(self._graph, batch.only(left), points) <= 0
        for at in met.any(dim=1).nonzero().squeeze(1).tolist():
            if self._trials.offer(self._numbers[int(cases[left[at]])], points[at]):
                return True
        for at in left.tolist():
            here = {k: (low[at], high[at]) for k, (low, high) in before.items()}
            candidates = _candidates(self._relus, here, tuned.slopes, tuned.swept, at, int(row[at]))
            mine = {k: sign[at].clone() for k, sign in signs.items()}
            if not candidates:
                if self._leaf(int(cases[at]), here, mine):
                    return True
                continue
            self._count += 1
            part = _Part(
                float(margin[at]),
                self._count,
                int(cases[at]),
                mine,
                {k: (low.clone(), high.clone()) for k, (low, high) in here.items()},
                {k: value[at].float() for k, value in tuned.slopes.items()},
                {k: value[at].float() for k, value in tuned.multipliers.items()},
                candidates,
            )
            heapq.heappush(self._waiting, part)
        return False

    def _leaf(self, case: int, before: dict[int, Pair], signs: dict[int, Tensor]) -> bool:
        if not self._exact:
            self._stuck = True
            return False
        one = self._batch.only(torch.tensor([case]))
        single = {at: (low[None], high[None]) for at, (low, high) in before.items()}
        done, point = settle(self._graph, one, single, {at: sign[None] for at, sign in signs.items()}, self._costs)
        if done:
            return False
        if point is not None and self._trials.offer(self._numbers[case], one.region.inside(point[None])[0]):
            return True
        self._stuck = True
        return False

    def _choose(self, parts: list[_Part]) -> list[tuple[int, int]]:
        """Of each part's candidates the one whose worse half is bounded best, without any ascent (De Palma 2021)."""
        tried = [(number, pick) for number, part in enumerate(parts) for pick in part.candidates]
        if len(tried) == len(parts):
            return [part.candidates[0] for part in parts]
        best = [(-torch.inf, part.candidates[0]) for part in parts]
        for start in range(0, len(tried), max(self._room // 2, 1)):
            some = tried[start : start + max(self._room // 2, 1)]
            cases, before, signs, slopes, multipliers = _stack([parts[n] for n, _ in some for _ in range(2)])
            for at, (_, (activation, place)) in enumerate(some):
                _assume(before, signs, 2 * at, activation, place)
            batch = self._batch.only(cases)
            live = {at: sign.double() for at, sign in signs.items() if at in multipliers}
            with torch.no_grad():
                bound = sweep(
                    self._graph,
                    batch.region,
                    len(self._graph.steps),
                    batch.rows,
                    before,
                    slopes=slopes,
                    splits=Splits(live, {at: multipliers[at] for at in live}),
                ).bound
            margin = (bound - batch.limits).amax(dim=1).view(-1, 2)
            scores = margin.clamp_max(0).sum(dim=1) + 0.1 * margin.amin(dim=1)
            for (number, pick), score in zip(some, scores.tolist(), strict=True):
                best[number] = max(best[number], (score, pick))
        return [pick for _, pick in best]


def _candidates(
    relus: Sequence[int], before: Mapping[int, Pair], slopes: Mapping[int, Tensor], swept: Swept, at: int, row: int
) -> tuple[tuple[int, int], ...]:
    """Open ReLUs by what their lines cost the bound: upper lines mostly (Bunel et al. 2020), a lower one besides."""
    upper: list[tuple[float, tuple[int, int]]] = []
    lower: list[tuple[float, tuple[int, int]]] = []
    for activation in relus:
        low, high = before[activation]
        open_ = ((low < 0) & (high > 0)).nonzero().squeeze(1)
        if not len(open_):
            continue
        low, high = low[open_], high[open_]
        a = swept.at[activation][at, row, open_] if activation in swept.at else torch.zeros_like(low)
        slope = slopes[activation][at, row, open_]
        first = -a.clamp_max(0) * high * -low / (high - low)
        second = a.clamp_min(0) * torch.minimum(high, -low) * torch.maximum(slope, 1 - slope) + 1e-12 * (high - low)
        for scores, found, count in ((first, upper, _TRIED - 1), (second, lower, 1)):
            best = scores.topk(min(count, len(scores)))
            found += [
                (score, (activation, int(open_[place])))
                for score, place in zip(best.values.tolist(), best.indices.tolist(), strict=True)
                if score > 0
            ]
    picked = [pick for _, pick in sorted(upper, reverse=True)[: _TRIED - 1]]
    picked += [pick for _, pick in sorted(lower, reverse=True)[:2] if pick not in picked]
    return tuple(picked[:_TRIED])


def _stack(
    parts: Sequence[_Part],
) -> tuple[Tensor, dict[int, Pair], dict[int, Tensor], dict[int, Tensor], dict[int, Tensor]]:
    cases = torch.tensor([part.case for part in parts])
    first = parts[0]
    before = {
        at: (torch.stack([p.before[at][0] for p in parts]), torch.stack([p.before[at][1] for p in parts]))
        for at in first.before
    }
    signs = {at: torch.stack([part.signs[at] for part in parts]) for at in first.signs}
    slopes = {at: torch.stack([part.slopes[at] for part in parts]).double() for at in first.slopes}
    split = sorted({at for part in parts for at in part.multipliers})
    rows = next(iter(first.slopes.values())).shape[0] if first.slopes else 1
    multipliers = {}
    for at in split:
        empty = torch.zeros(rows, first.signs[at].shape[0])
        multipliers[at] = torch.stack([part.multipliers.get(at, empty) for part in parts]).double()
    return cases, before, signs, slopes, multipliers


def _assume(before: dict[int, Pair], signs: dict[int, Tensor], row: int, activation: int, place: int) -> None:
    """Split a ReLU in rows `row` (on) and `row + 1` (off)."""
    low, high = before[activation]
    signs[activation][row, place], signs[activation][row + 1, place] = 1, -1
    low[row, place], high[row + 1, place] = 0.0, 0.0
