"""Search over changes of whole features, for rows of a table: by scores, or by labels alone."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.losses import margin
from redoubt.attacks.evasion.standing import Standing, affordable_queries
from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.table import Options, Table
from redoubt.records import Access, Budget

_AT_ONCE = 8  # combinations asked about in one batch: enough to fill a batch late, few enough to waste little
_COMBINATIONS = ("points", "margin", "used", "spent", "name", "last")


@dataclass(frozen=True)
class FeatureSearch(EvasionAttack):
    """Every change of one feature, then of two, then a beam over more, the likeliest first.

    All changes of one feature are asked about.  How much each raised the margin foretells what several will do
    together: pairs are asked in the order of that sum, and of all that were asked the best are extended, until the
    table's budget or the queries are spent.  With labels alone nothing is foretold, and pairs come in the order of the
    features.

    Exhaustive over one feature as far as `Table.options` lists its values (all of them up to 8 steps either way, then
    powers of two), and over two while a table has at most `width` such options and `pairs` and `queries` allow.
    Deterministic: it draws nothing from `rng`.

    Does not cover: combinations of three features and more that no good pair leads to; sets other than tables.

    Attributes:
        queries: per example.
        pairs: of them, at most so many on two features.
        children: on each further number of features.
        width: how many single changes are extended to pairs.
        beam: how many combinations are extended further.
    """

    queries: int = 2000
    pairs: int = 1000
    children: int = 100
    width: int = 64
    beam: int = 16
    name: ClassVar[str] = "feature-search"
    needs: ClassVar[Access] = Access.LABEL

    def refuses(self, within: PerturbationSet) -> str | None:
        """Sets other than tables."""
        return None if isinstance(within, Table) else f"{within} is no table"

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        if not isinstance(within, Table):
            return within.start(x)
        standing = Standing(model, x, y, within)
        search = _Search(standing, within, affordable_queries(budget, self.queries))
        if not len(search.options.cost):  # the table's budget buys no change at all
            return standing.points
        search.extend(search.left, width=1)
        search.single = search.margins_by_option()
        for level in range(2, len(within.features) + 1):
            if not len(standing) or search.left <= 0:
                break
            pairs = level == 2
            search.extend(self.pairs if pairs else self.children, width=self.width if pairs else self.beam)
            if search.exhausted:
                break
        search.propose_best()
        return standing.points


class _Search:
    """The combinations asked about last, for each of the S examples still standing: W each.

    points `[S, W, F]`; margin `[S, W]`, -inf where nothing was told; used `[S, W, G]`, the features changed; spent
    `[S, W]`; name `[S, W]`, a sum of random numbers of the changes, which tells combinations apart in any order; last
    `[S, W]`, the change made last.
    """

    def __init__(self, standing: Standing, within: Table, queries: int) -> None:
        x = standing.x
        self.standing, self.within, self.left = standing, within, queries
        self.options: Options = within.options(x)
        rows, features = len(x), len(within.features)
        self.points = x[:, None]
        self.margin = x.new_zeros(rows, 1)
        self.used = torch.zeros(rows, 1, features, dtype=torch.bool, device=x.device)
        self.spent = x.new_zeros(rows, 1)
        self.name = torch.zeros(rows, 1, dtype=torch.int64, device=x.device)
        self.last = torch.zeros(rows, 1, dtype=torch.int64, device=x.device)
        self.single = x.new_zeros(rows, len(self.options.cost))
        self.best, self.best_margin = x.clone(), torch.full_like(x[:, 0], -torch.inf)
        self.allowed = self._allowed()
        rng = Generator().manual_seed(0)  # of names only: nothing hangs on chance
        self._names = torch.randint(2**62, (len(self.options.cost),), generator=rng).to(x.device)
        self.exhausted = False

    def _allowed(self) -> Tensor:
        """Which changes each row can have at all, and which change it, bool `[S, T]`."""
        x, found = self.standing.x, []
        for option in torch.arange(len(self.options.cost), device=x.device):
            point = self.options.put(x, x, option.expand(len(x)))
            found.append(self.within.contains(x, point) & (point != x).any(dim=1))
        return torch.stack(found, dim=1) if found else torch.zeros(len(x), 0, dtype=torch.bool, device=x.device)

    def extend(self, most: int, width: int) -> None:
        """Change one more feature of the `width` best combinations: the `most` likeliest results are asked about."""
        self._narrow(width)
        options, features = self.options, self.options.feature
        estimate = self.margin[:, :, None] + self.single[:, None]
        cost = self.spent[:, :, None] + options.cost
        valid = self.allowed[:, None] & ~self.used[:, :, features] & estimate.isfinite()
        valid &= cost <= self.within.budget * (1 + 1e-5)
        names = (self.name[:, :, None] + self._names).flatten(1)
        valid = valid.flatten(1) & ~_repeated(names, valid.flatten(1))
        asked = min(most, self.left, int(valid.sum(dim=1).amax()) if valid.numel() else 0)
        self.exhausted = asked < 1
        if self.exhausted:
            return
        # Valid ones first, the likeliest first; stable, so that where nothing is foretold the features' order counts.
        ranked = torch.where(valid, estimate.flatten(1), -torch.inf)
        order = ranked.argsort(dim=1, descending=True, stable=True)[:, :asked]
        count = valid.sum(dim=1).clamp(max=asked)
        parent, option = order // len(options.cost), order % len(options.cost)
        rows = torch.arange(len(order), device=order.device)[:, None]
        self.used = self.used[rows, parent].scatter(2, features[option][:, :, None], True)
        self.spent, self.name, self.last = cost.flatten(1).gather(1, order), names.gather(1, order), option
        self.points = options.put(self.standing.x[:, None], self.points[rows, parent], option)
        self.margin = torch.full_like(self.spent, -torch.inf)
        for at in range(0, asked, _AT_ONCE):
            for size in range(1, _AT_ONCE + 1):  # rows that have so many left, all with one question
                if len(self.standing):
                    count = self._ask(at, size, count)
        self.left -= asked

    def _ask(self, at: int, size: int, count: Tensor) -> Tensor:
        """Ask about combinations `at` to `at + size`, of the rows that have so many there; returns who has how many."""
        standing, within = self.standing, self.within
        rows = ((count - at).clamp(max=_AT_ONCE) == size).nonzero().squeeze(1)
        if not len(rows):
            return count
        copies = self.points[rows, at : at + size].transpose(0, 1).flatten(0, 1)  # all rows, so many times over
        x, y = standing.x[rows].repeat(size, 1), standing.y[rows].repeat(size)
        answer = standing.model.only(rows).query(within.render(x, copies))
        if answer.asked is not None:
            copies = within.project(x, answer.asked)
        gain = torch.zeros_like(x[:, 0]) if answer.scores is None else margin(answer.scores, y).to(x)
        gain = torch.where(answer.refused, -torch.inf, gain).view(size, -1).T
        wrong = ((answer.labels != y) & ~answer.refused).view(size, -1).T
        points = copies.view(size, len(rows), -1).transpose(0, 1)
        self.points[rows, at : at + size], self.margin[rows, at : at + size] = points, gain
        highest, where = gain.max(dim=1)
        better = highest > self.best_margin[rows]
        each = torch.arange(len(rows), device=rows.device)
        self.best[rows[better]] = points[each, where][better]
        self.best_margin[rows[better]] = highest[better]
        fooled = torch.zeros(len(standing), dtype=torch.bool, device=x.device)
        fooled[rows] = wrong.any(dim=1)
        point = self.best.clone()
        point[rows] = points[each, wrong.int().argmax(dim=1)]
        keep = standing.fell(fooled, point)
        if keep is None:
            return count
        for name in (*_COMBINATIONS, "single", "allowed", "best", "best_margin"):
            setattr(self, name, getattr(self, name)[keep])
        return count[keep]

    def _narrow(self, width: int) -> None:
        order = self.margin.argsort(dim=1, descending=True, stable=True)[:, :width]
        rows = torch.arange(len(order), device=order.device)[:, None]
        for name in _COMBINATIONS:
            setattr(self, name, getattr(self, name)[rows, order])

    def margins_by_option(self) -> Tensor:
        """After the first level: the margin of each change alone, `[S, T]`; -inf where it was not asked about."""
        single = torch.full_like(self.single, -torch.inf)
        told = self.margin.isfinite()
        rows = torch.arange(len(single), device=single.device)[:, None].expand_as(told)
        single[rows[told], self.last[told]] = self.margin[told]
        return single

    def propose_best(self) -> None:
        """Whom nothing fooled is proposed at the best margin seen."""
        if len(self.standing):
            self.standing.propose(self.best)


def _repeated(names: Tensor, valid: Tensor) -> Tensor:
    """Which valid entries of a row have a name that stands before them in the row, bool of the same shape."""
    names = torch.where(valid, names, -1 - torch.arange(names.shape[1], device=names.device))
    order = names.argsort(dim=1, stable=True)
    ordered = names.gather(1, order)
    again = torch.zeros_like(valid)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return torch.zeros_like(valid).scatter(1, order, again)
