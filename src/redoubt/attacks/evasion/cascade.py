"""The standard attack in any set: a cascade of short searches, each where those before it give most hope."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import ClassVar, Literal, NamedTuple, TypeAlias

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.losses import cross_entropy, dlr, margin
from redoubt.attacks.evasion.square import squares_of
from redoubt.models.leak import SHARE
from redoubt.models.meter import Metered, Slope
from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.norms import L1Ball, L2Ball, LinfBall
from redoubt.records import Access, Budget

_LOSSES = {"margin": margin, "ce": cross_entropy, "dlr": dlr}
_FIRST_STEP, _LAST_STEP = 2.0, 0.02  # of the radius; along a cosine between them
_LONGER = 2.5  # times the steps in an L1 ball
_WIDER_BALLS: Mapping[type[PerturbationSet], Sequence[float]] = {
    L1Ball: (3.0, 2.0),
    L2Ball: (2.0, 1.5),
}  # times the radius
_EARLY = 0.3  # share of a climb's steps in each of them
_MOMENTUM = 0.75  # weight of the new step, as in Auto-PGD
_BLOCKS = 7  # along each side of the image, in a start of blocks
_WINDOWS = (0.2, 0.1, 0.05, 0.02, 0.01, 0.001)  # shares of the image that one change of a random search covers
_MOST = 8  # times the average for one example
_NARROWEST, _WIDER, _NARROWING = 0.1, 1.5, 0.7  # see `_Field.learn`

Start: TypeAlias = Literal["sample", "blocks"]


class Leg(NamedTuple):
    """One short search by gradients of a loss."""

    start: Start
    loss: Literal["margin", "ce", "dlr"]


# The first climbs are everybody's, one by the model's own slopes and one by slopes that see past rectified units that
# are off, which find in a network trained for another norm what its own cannot.  Random changes take turns with both
# later, since they find what lies behind any flat or misleading slope, and need one pass where a slope needs two.  What
# takes one turn is played at once, as copies in one batch: later rounds are for few examples, and few cost a processor
# nearly as much as many.
_FIRST = ((Leg("sample", "margin"), 0.0), (Leg("blocks", "ce"), SHARE))
_CLIMBS = (Leg("sample", "margin"), Leg("blocks", "margin"), Leg("sample", "ce"), Leg("blocks", "dlr"))
_CHANGES = 4


@dataclass(frozen=True)
class Cascade(EvasionAttack):
    """Short climbs of several losses from several starts, and random changes of squares, on whoever is nearest to fall.

    Without parameters to set: `passes` is what it may cost.  Every example is climbed from two starts.  After that each
    round goes to the share of those standing whose best margin so far is highest, and that share follows from how deep
    in this order examples fell lately: most robust examples are told by their first two climbs, and cost no more, while
    those near the border get what the others leave over.  Compare A3 (Yao et al. 2022), which also drops examples by
    their losses; and AutoAttack (Croce and Hein 2020), whose losses and random search (Andriushchenko et al. 2020)
    these are, played there at full length one after another.  Half of its climbs see past rectified units that are off
    (`redoubt.models.leak`).

    Does not cover: detectors and randomised models (`adaptive`); parts without a useful gradient in sets that have no
    random search here (all but Linf and L2 balls).

    Attributes:
        passes: per example that stands after the first two climbs, on average and those included: who seems out of
            reach leaves passes to the others, up to eight times as many, and never more than the budget of an example.
        steps: of one climb, 2 passes each, and one slope before them; in an L1 ball two and a half times as many.
        changes: steps of one random search, each of four changes, a pass each.
    """

    passes: int = 800
    steps: int = 20
    changes: int = 40
    name: ClassVar[str] = "cascade"
    needs: ClassVar[Access] = Access.GRADIENTS

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        limit = min(_MOST * self.passes, budget.passes or _MOST * self.passes)
        field = _Field(model, x, y, within, limit, rng)
        steps = math.ceil(_LONGER * self.steps) if isinstance(within, L1Ball) else self.steps
        for leg, leak in _FIRST:
            field.climb(field.most_hopeful(2), (leg,), steps, leak)
        left = field.purse(min(self.passes, limit))
        by_chance = isinstance(within, LinfBall | L2Ball)
        leaks = cycle((SHARE, 0.0))
        for chance in cycle((True, False) if by_chance else (False,)):
            each = _CHANGES * self.changes if chance else len(_CLIMBS) * (2 * steps + 2)
            rows = field.most_hopeful(_CHANGES if by_chance else 2 * len(_CLIMBS), narrow=True)
            rows = rows[: max(left // min(each, limit), 1)]
            if left <= 0 or not len(rows):
                break
            spent = int(field.spent.sum())
            fell = field.change(rows, self.changes) if chance else field.climb(rows, _CLIMBS, steps, next(leaks))
            field.learn(rows, fell)
            left -= int(field.spent.sum()) - spent
        return field.points


class _Field:
    """All examples of one run: how near each came, at which point, and for how many passes.

    Attributes:
        points: the best point of each, `[B, ...]`; of those that fell, the one that fooled.
        best: the margin there, `[B]`; infinite of those that fell.
        spent: passes, int64 `[B]`.
    """

    def __init__(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, limit: int, rng: Generator
    ) -> None:
        self._model, self._x, self._y, self._within, self._rng = model, x, y, within, rng
        self._limit = limit
        self._stands = torch.ones(len(x), dtype=torch.bool, device=x.device)
        self._share = 1.0
        self.points = within.start(x).clone()
        self.best = torch.full((len(x),), -torch.inf, device=x.device)
        self.spent = torch.zeros(len(x), dtype=torch.int64)

    def purse(self, each: int) -> int:
        """What those standing may still spend together, if it is so much each on average."""
        return each * int(self._stands.sum()) - int(self.spent[self._stands.cpu()].sum())

    def most_hopeful(self, cost: int, *, narrow: bool = False) -> Tensor:
        """Rows of those standing who can pay that much more, the nearest to the border first; only the first share of
        them if `narrow`.
        """
        rows = (self._stands & self._solvent(cost)).nonzero().squeeze(1)
        rows = rows[self.best[rows].argsort(descending=True, stable=True)]
        return rows[: math.ceil(len(rows) * self._share)] if narrow else rows

    def learn(self, rows: Tensor, fell: Tensor) -> None:
        """Look next time half as far again as where the last one fell in the order, but never all at once less far."""
        standing = len(rows) / self._share
        deepest = float(fell.nonzero().max() + 1) / standing if fell.any() else 0.0
        self._share = min(max(_WIDER * deepest, _NARROWING * self._share, _NARROWEST), 1.0)

    def climb(self, rows: Tensor, legs: Sequence[Leg], steps: int, leak: float) -> Tensor:
        """A climb of some rows along each leg, all at once, by a falling step; bool, which of them fell.

        Slopes see past units that are off if there is a `leak`; whether anybody is fooled, the model itself says.
        """
        first, copies = rows, len(legs)
        point = before = torch.cat([self._start(rows, leg.start) for leg in legs])
        group = self._group(rows, copies)
        for step, within in enumerate(self._stages(steps)):
            keep = self._goes_on(rows, 2 * copies)
            if not keep.all():
                rows, each = rows[keep], keep.repeat(copies)
                point, before, group = point[each], before[each], self._group(rows, copies)
            if not len(rows):
                break
            if isinstance(within, tuple(_WIDER_BALLS)):
                point = within.project(group.x, point)  # the stage may have narrowed
            slope = self._slope(group, point, legs, leak)
            self.spent[rows.cpu()] += 2 * copies
            if within == self._within:
                self._note(rows, point, margin(slope.logits, group.y), slope.fooled(group.y))
            if step == steps:
                break
            along = (1 + math.cos(math.pi * step / steps)) / 2
            there = within.ascend(group.x, point, slope.gradient, max(_FIRST_STEP * along, _LAST_STEP))
            if step:
                there = torch.lerp(point, there, _MOMENTUM).add_(point - before, alpha=1 - _MOMENTUM)
                there = within.project(group.x, there)
            before, point = point, there
        return ~self._stands[first]

    def _group(self, rows: Tensor, copies: int) -> "_Group":
        return _Group(self._model.only(rows), torch.cat([self._x[rows]] * copies), self._y[rows].repeat(copies))

    def _slope(self, group: "_Group", point: Tensor, legs: Sequence[Leg], leak: float) -> Slope:
        losses = [_LOSSES[leg.loss] for leg in legs]

        def objective(logits: Tensor) -> Tensor:
            parts = zip(losses, logits.chunk(len(legs)), group.y.chunk(len(legs)), strict=True)
            return torch.cat([loss(z, y) for loss, z, y in parts])

        return group.model.leaking(leak).slope(point, objective, lambda p: self._within.render(group.x, p))

    def _stages(self, steps: int) -> Iterator[PerturbationSet]:
        """The set of each slope of a climb.

        In L1 and L2 balls it begins in two wider ones, where nobody can fall yet.  In L1 few coordinates move at a time
        there, and a start inside the small ball gets stuck (Croce and Hein 2021, 4.2).  In L2 it crosses a border that
        lies outside, and follows it inwards.
        """
        widths = next((widths for ball, widths in _WIDER_BALLS.items() if isinstance(self._within, ball)), ())
        for step in range(steps + 1):
            stage = int(step / (_EARLY * steps))
            yield self._within.scaled(widths[stage]) if stage < len(widths) else self._within

    def change(self, rows: Tensor, changes: int) -> Tensor:
        """Random changes of the best point of some rows, a few at once, the best of them kept where the margin rises.

        Linf and L2 balls only.  Returns bool, which of them fell.
        """
        first, within = rows, self._within
        if not isinstance(within, LinfBall | L2Ball):
            return ~self._stands[first]
        draw, group = squares_of(within, self._rng), self._group(rows, _CHANGES)
        for _ in range(changes):
            keep = self._goes_on(rows, _CHANGES)
            if not keep.all():
                rows = rows[keep]
                group = self._group(rows, _CHANGES)
            if not len(rows):
                break
            x, best = group.x[: len(rows)], self.points[rows]
            point = torch.cat([draw.change(x, best, self._window()) for _ in range(_CHANGES)])
            scored = group.model.scored(point)
            self.spent[rows.cpu()] += _CHANGES
            self._note(rows, point, margin(scored.logits, group.y), scored.fooled(group.y))
        return ~self._stands[first]

    def _window(self) -> float:
        return _WINDOWS[int(torch.randint(len(_WINDOWS), (), generator=self._rng))]

    def _start(self, rows: Tensor, kind: Start) -> Tensor:
        x = self._x[rows]
        if kind == "blocks" and isinstance(self._within, LinfBall | L2Ball) and x.dim() == 4:
            return self._blocks(x)
        return self._within.sample(x, self._rng)

    def _blocks(self, x: Tensor) -> Tensor:
        """A step of one radius towards signs that are constant over blocks, where many filters answer at once."""
        signs = torch.randint(0, 2, (*x.shape[:2], _BLOCKS, _BLOCKS), generator=self._rng).to(x) * 2 - 1
        return self._within.ascend(x, x, torch.nn.functional.interpolate(signs, size=x.shape[2:]), 1.0)

    def _solvent(self, cost: int) -> Tensor:
        return (self.spent + cost <= self._limit).to(self._stands.device)

    def _goes_on(self, rows: Tensor, cost: int) -> Tensor:
        return self._stands[rows] & self._solvent(cost)[rows]

    def _note(self, rows: Tensor, point: Tensor, gain: Tensor, fooled: Tensor) -> None:
        """Keep the best of the copies where it is better than before; whoever is fooled stands no more."""
        gain = torch.where(fooled, torch.inf, gain).nan_to_num(-torch.inf, torch.inf)
        most, copy = gain.view(-1, len(rows)).max(dim=0)
        better = (most > self.best[rows]).nonzero().squeeze(1)
        if len(better):
            self.best[rows[better]] = most[better].to(self.best)
            self.points[rows[better]] = point[copy[better] * len(rows) + better]
            self._stands[rows[fooled.view(-1, len(rows)).any(dim=0)]] = False


class _Group(NamedTuple):
    """The examples of R rows, k copies of each: a handle on R, and `[k * R]` inputs and labels."""

    model: Metered
    x: Tensor
    y: Tensor
