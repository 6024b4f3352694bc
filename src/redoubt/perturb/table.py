"""Rows of a table: some features may be changed, each at a price, and what comes out is a row again."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

import torch
from torch import Generator, Tensor

from redoubt.perturb.base import PerturbationSet

_ROUNDING = 1e-5  # of a budget, and of a value of size 1: what float32 arithmetic may add
_LADDER = 8  # steps either way that `options` lists one by one; of more, it lists the powers of two and the most


@dataclass(frozen=True)
class Feature:
    """What an adversary may change: a number in one column, or a category told by which of several columns is 1.

    Attributes:
        name: as messages and reports call it.
        columns: one for a number; two or more for a category, of which exactly one is 1 and the others are 0.
        cost: of one step of a number (of one unit of it, if it has no step); of a change to another category.
        step: a number moves by whole multiples of it, counted from where it is, in its own units; None for any move.
        unit: one unit of the number, in the units of the model's input.
        zero: where the number 0 lies in the model's input.
        low, high: least and greatest value that it may be moved to, in its own units.
        rises, falls: whether it may be moved up, and down.
        values: names of the categories, in the order of the columns; may be empty.
    """

    name: str
    columns: tuple[int, ...]
    cost: float = 1.0
    step: float | None = None
    unit: float = 1.0
    zero: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    rises: bool = True
    falls: bool = True
    values: tuple[str, ...] = ()

    @property
    def is_category(self) -> bool:
        """Whether it is told by several columns."""
        return len(self.columns) > 1

    @property
    def stride(self) -> float:
        """What `cost` buys, in the units of the model's input."""
        return self.unit * (1.0 if self.step is None else self.step)

    def shown(self, row: Tensor) -> str:
        """Its value in a row `[F]`, as people read it."""
        mine = row[list(self.columns)]
        if not self.is_category:
            return f"{(float(mine[0]) - self.zero) / self.unit:.6g}"
        at = int(mine.argmax())
        return self.values[at] if self.values else f"{at}"


@dataclass(frozen=True)
class Moved:
    """One feature of one row, before and after."""

    feature: str
    before: str
    after: str
    cost: float


class Options(NamedTuple):
    """Changes of a single feature, for searches that try them: T of them.

    feature `[T]`: which feature, int64; cost `[T]`; where, bool `[T, F]`: its columns; value `[T, F]`: what is put
    there, on top of what the clean row has there if it is a number; number, bool `[T]`.
    """

    feature: Tensor
    cost: Tensor
    where: Tensor
    value: Tensor
    number: Tensor

    def put(self, x: Tensor, point: Tensor, chosen: Tensor) -> Tensor:
        """Points `[..., F]` with one feature each changed, as the option `chosen` `[...]` says.

        Args:
            x: the clean rows of the points, `[..., F]`.
            point: points of the set, `[..., F]`.
            chosen: int64 `[...]`, below T.
        """
        value = self.value[chosen]
        return torch.where(self.where[chosen], torch.where(self.number[chosen][..., None], x + value, value), point)


class _State(NamedTuple):
    """What has become of each feature: steps `[B, N]` of the N numbers, category `[B, C]` of the C categories (-1 as
    it was).
    """

    steps: Tensor
    category: Tensor


@dataclass(frozen=True)
class Table(PerturbationSet):
    """Rows `[F]` in which the listed features are changed, at a total cost within the budget.

    A point is the changed row itself.  Whatever no feature names stays as it is.  Rows of the set are rows that could
    be: numbers have moved by whole steps and lie in their range, of a category's columns exactly one is 1.

    `project` takes the nearest allowed value of each feature, and where that costs too much keeps the changes that were
    asked for most.  `ascend` is the greedy solution of the knapsack: changes in order of gain per cost.  It is the best
    there is when all costs are equal, and else falls short of it by less than the best single change.

    Does not cover: rules between features (an age that fits the years of schooling), costs that depend on the value.

    Attributes:
        features: what may be changed.
        budget: what the changes may cost together.

    >>> table = Table((Feature("hours", (0,), step=1.0, unit=0.01), Feature("work", (1, 2))), budget=2)
    >>> table.project(torch.tensor([[0.40, 1.0, 0.0]]), torch.tensor([[0.407, 0.1, 0.7]]))
    tensor([[0.4100, 0.0000, 1.0000]])
    """

    features: tuple[Feature, ...]
    budget: float

    def start(self, x: Tensor) -> Tensor:
        return x

    def render(self, x: Tensor, point: Tensor) -> Tensor:
        return point

    def size(self, x: Tensor, point: Tensor) -> Tensor:
        return self._price(self._read(x, point)).sum(dim=1) / self.budget

    def contains(self, x: Tensor, point: Tensor) -> Tensor:
        state = self._read(x, point)
        near = (self._draw(x, state) - point).abs() <= _ROUNDING * x.abs().clamp_min(1)
        return near.all(dim=1) & (self._price(state).sum(dim=1) <= self.budget * (1 + _ROUNDING))

    def project(self, x: Tensor, point: Tensor) -> Tensor:
        state = self._read(x, point)
        asked = (point - x)[:, self._numbers] / self._strides(x)
        eager = asked.abs() * self._prices(x)[: len(self._numbers)]
        moves = [
            (point[:, cols] - x[:, cols]).abs().amax(dim=1) * cost
            for cols, cost in zip(self._groups, self._prices(x)[len(self._numbers) :], strict=True)
        ]
        eager = torch.cat([eager, *[move[:, None] for move in moves]], dim=1)
        drawn = self._draw(x, self._afford(state, eager))
        return torch.where(self.contains(x, point)[:, None], point, drawn)

    def sample(self, x: Tensor, rng: Generator) -> Tensor:
        count, numbers = len(x), len(self._numbers)
        least, most = self._reach(x)
        draws = torch.rand((count, numbers), generator=rng).to(x)
        steps = self._whole(least + draws * (most - least))
        kinds = [torch.randint(len(cols), (count, 1), generator=rng) for cols in self._groups]
        category = torch.cat(kinds, dim=1).to(x.device) if kinds else x.new_zeros(count, 0).long()
        # Random order, in which each row skips a share of its own: sparse changes and full ones both come up.
        order = torch.rand((count, len(self.features)), generator=rng)
        kept = order <= torch.rand((count, 1), generator=rng).clamp_min(1.0 / len(self.features))
        state = self._settled(x, _State(steps, category))
        keep = kept.to(x.device)
        state = _State(state.steps * keep[:, :numbers], torch.where(keep[:, numbers:], state.category, -1))
        return self._draw(x, self._afford(state, order.to(x)))

    def ascend(self, x: Tensor, point: Tensor, gradient: Tensor, step: float | Tensor) -> Tensor:
        """No feature moves farther than the step, as a share of the budget, buys; but each by one step at least."""
        here, numbers = self._read(x, point), len(self._numbers)
        spend = torch.as_tensor(step, dtype=x.dtype, device=x.device).expand(len(x))[:, None] * self.budget
        slope = gradient[:, self._numbers] * self._strides(x)
        stepped = self._stepped(x)[:numbers]
        far = spend / self._prices(x)[:numbers]
        far = torch.where(stepped, far.floor().clamp_min(1), far)
        least, most = self._reach(x)
        steps = (here.steps + slope.sign() * far).clamp(min=least, max=most)
        gains, chosen = [slope * steps], []
        for at, cols in enumerate(self._groups):
            rise = gradient[:, cols]
            was = here.category[:, [at]]
            stays = torch.where(was < 0, (rise * x[:, cols]).sum(1, keepdim=True), rise.gather(1, was.clamp_min(0)))
            best = rise.argmax(dim=1, keepdim=True)
            chosen.append(torch.where(rise.gather(1, best) > stays, best, was))
            now = torch.where(chosen[-1] < 0, stays, rise.gather(1, chosen[-1].clamp_min(0)))
            gains.append(now - (rise * x[:, cols]).sum(1, keepdim=True))
        category = torch.cat(chosen, dim=1) if chosen else here.category
        state, gain = self._settled(x, _State(steps, category)), torch.cat(gains, dim=1)
        pays = gain > 0
        state = _State(state.steps * pays[:, :numbers], torch.where(pays[:, numbers:], state.category, -1))
        return self._draw(x, self._afford(state, gain / self._price(state).clamp_min(1e-12)))

    def scaled(self, factor: float) -> Self:
        return replace(self, budget=self.budget * factor)

    @property
    def members(self) -> tuple[PerturbationSet, ...]:
        return (self,)

    def __str__(self) -> str:
        return f"{len(self.features)} features for {self.budget:.6g}"

    # ── for searches and reports ─────────────────────────────────────────────────────────────────────────────────

    def options(self, x: Tensor) -> Options:
        """The changes of one feature that the budget buys in some row or other; of x only width, type and device
        matter.
        """
        rows: list[tuple[int, float, float]] = []  # feature, steps or category, cost
        for at, feature in enumerate(self.features):
            if feature.is_category:
                if feature.cost <= self.budget * (1 + _ROUNDING):
                    rows += [(at, float(value), feature.cost) for value in range(len(feature.columns))]
                continue
            span = (feature.high - feature.low) / (feature.step or 1.0)
            most = min(self.budget * (1 + _ROUNDING) / feature.cost, span)
            signs = [sign for sign, allowed in ((1, feature.rises), (-1, feature.falls)) if allowed]
            rows += [(at, sign * size, size * feature.cost) for size in _sizes(feature, most) for sign in signs]
        where = torch.zeros(len(rows), x.shape[1], dtype=torch.bool)
        value = torch.zeros(len(rows), x.shape[1])
        for number, (at, amount, _) in enumerate(rows):
            feature = self.features[at]
            where[number, list(feature.columns)] = True
            column = feature.columns[int(amount) if feature.is_category else 0]
            value[number, column] = 1.0 if feature.is_category else amount * feature.stride
        return Options(
            torch.tensor([at for at, _, _ in rows], dtype=torch.int64, device=x.device),
            x.new_tensor([cost for _, _, cost in rows]),
            where.to(x.device),
            value.to(x),
            torch.tensor([not self.features[at].is_category for at, _, _ in rows], dtype=torch.bool, device=x.device),
        )

    def moved(self, clean: Tensor, changed: Tensor) -> tuple[Moved, ...]:
        """What differs between two rows `[F]`, the dearest first."""
        price = self._price(self._read(clean[None], changed[None]))[0]
        order = price.argsort(descending=True, stable=True).tolist()
        names = [f for f in self.features if not f.is_category] + [f for f in self.features if f.is_category]
        return tuple(
            Moved(names[at].name, names[at].shown(clean), names[at].shown(changed), float(f"{float(price[at]):.6g}"))
            for at in order
            if price[at] > 0
        )

    # ── arithmetic: numbers first, then categories ───────────────────────────────────────────────────────────────

    @cached_property
    def _numbers(self) -> list[int]:
        return [feature.columns[0] for feature in self.features if not feature.is_category]

    @cached_property
    def _groups(self) -> list[list[int]]:
        return [list(feature.columns) for feature in self.features if feature.is_category]

    @cached_property
    def _sorted(self) -> list[Feature]:
        return sorted(self.features, key=lambda feature: feature.is_category)

    def _strides(self, x: Tensor) -> Tensor:
        return x.new_tensor([f.stride for f in self._sorted if not f.is_category])

    def _prices(self, x: Tensor) -> Tensor:
        return x.new_tensor([f.cost for f in self._sorted])

    def _stepped(self, x: Tensor) -> Tensor:
        return torch.tensor([f.is_category or f.step is not None for f in self._sorted], device=x.device)

    def _whole(self, steps: Tensor) -> Tensor:
        return torch.where(self._stepped(steps)[: steps.shape[1]], steps.round(), steps)

    def _reach(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Least and most steps of each number that range, direction and budget allow, `[B, N]` each; 0 included."""
        features = [f for f in self._sorted if not f.is_category]
        ends = x.new_tensor([(f.zero + f.low * f.unit, f.zero + f.high * f.unit) for f in features]).view(-1, 2)
        here, strides, stepped = x[:, self._numbers], self._strides(x), self._stepped(x)[: len(features)]
        below, above = (ends[:, 0] - here) / strides, (ends[:, 1] - here) / strides
        below = torch.where(stepped, (below - 1e-3).ceil(), below)  # a thousandth of a step is rounding
        above = torch.where(stepped, (above + 1e-3).floor(), above)
        most = self.budget * (1 + _ROUNDING) / self._prices(x)[: len(features)]
        falls, rises = (x.new_tensor([float(way) for way in ways]) for ways in _ways(features))
        return -torch.minimum((-below).clamp_min(0), most) * falls, torch.minimum(above.clamp_min(0), most) * rises

    def _read(self, x: Tensor, point: Tensor) -> _State:
        """The nearest state that each feature could be in, whatever it costs."""
        least, most = self._reach(x)
        wanted = ((point - x)[:, self._numbers] / self._strides(x)).clamp(min=least, max=most)
        chosen = [point[:, cols].argmax(dim=1, keepdim=True) for cols in self._groups]
        category = torch.cat(chosen, dim=1) if chosen else x.new_zeros(len(x), 0).long()
        return self._settled(x, _State(self._whole(wanted), category))

    def _settled(self, x: Tensor, state: _State) -> _State:
        """With whole steps towards zero, and -1 for categories that are the row's own."""
        stepped = self._stepped(x)[: state.steps.shape[1]]
        steps = torch.where(stepped, (state.steps.abs() + 1e-4).floor() * state.steps.sign(), state.steps)
        own = [x[:, cols].argmax(dim=1, keepdim=True) for cols in self._groups]
        category = torch.where(state.category == torch.cat(own, dim=1), -1, state.category) if own else state.category
        return _State(steps, category)

    def _price(self, state: _State) -> Tensor:
        """Cost of each feature's change, `[B, G]`."""
        amounts = torch.cat([state.steps.abs(), (state.category >= 0).to(state.steps)], dim=1)
        return amounts * self._prices(amounts)

    def _afford(self, state: _State, eager: Tensor) -> _State:
        """Keep what the budget buys, the changes of highest `eager` `[B, G]` first; of numbers also parts."""
        price, stepped = self._prices(state.steps), self._stepped(state.steps)
        amounts = torch.cat([state.steps.abs(), (state.category >= 0).to(state.steps)], dim=1)
        left = torch.full_like(amounts[:, 0], self.budget)
        kept = torch.zeros_like(amounts)
        for at in eager.argsort(dim=1, descending=True, stable=True).unbind(dim=1):
            buys = left / price[at]
            buys = torch.where(stepped[at], (buys * (1 + _ROUNDING)).floor(), buys)
            taken = torch.minimum(amounts.gather(1, at[:, None]).squeeze(1), buys)
            kept.scatter_(1, at[:, None], taken[:, None])
            left = (left - taken * price[at]).clamp_min(0)
        numbers = state.steps.shape[1]
        category = torch.where(kept[:, numbers:] > 0, state.category, -1)
        return _State(state.steps.sign() * kept[:, :numbers], category)

    def _draw(self, x: Tensor, state: _State) -> Tensor:
        point = x.clone()
        point[:, self._numbers] += state.steps * self._strides(x)
        for at, cols in enumerate(self._groups):
            chosen = state.category[:, [at]]
            hot = torch.zeros_like(x[:, cols]).scatter(1, chosen.clamp_min(0), 1.0)
            point[:, cols] = torch.where(chosen < 0, x[:, cols], hot)
        return point


def _ways(features: list[Feature]) -> tuple[list[bool], list[bool]]:
    return [f.falls for f in features], [f.rises for f in features]


def _sizes(feature: Feature, most: float) -> list[float]:
    """Sizes of moves worth trying, up to `most` steps."""
    if feature.step is None:
        return [] if not math.isfinite(most) else [most * share for share in (0.125, 0.25, 0.5, 1.0)]
    whole = math.floor(most + 1e-3)
    if whole <= _LADDER:
        return [float(size) for size in range(1, whole + 1)]
    powers = [float(2**power) for power in range(math.ceil(math.log2(whole)))]
    return [*powers, float(whole)]
