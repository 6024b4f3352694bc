"""Corruptions of images at graded severities (Hendrycks and Dietterich 2019), searched for the worst combination."""

from dataclasses import dataclass, replace
from itertools import combinations
from typing import ClassVar, Self

import torch
from torch import Generator, Tensor

from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.corruption_kinds import IN_ORDER, WITH_PATTERN
from redoubt.records.within import UNEVEN_CORRUPTIONS, CorruptionKind

_PATTERNS = 16
_GRID_PATTERNS = 4


@dataclass(frozen=True)
class Corruptions(PerturbationSet):
    """At most `at_once` kinds of corruption of an image, each up to a severity, one after the other.

    A point is `[B, K + 1]`: for each of the K kinds a share of the severity, 0..1, in the order in which they befall
    an image; then the number of the random pattern that noise, haze and motion have, a whole number from 0.

    Attributes:
        kinds: in the order of `IN_ORDER`.
        severity: 0..5, on ImageNet-C's scale.
        low, high: the input range.
        at_once: how many kinds may befall one image: with too many nobody could read it.
    """

    kinds: tuple[CorruptionKind, ...]
    severity: float
    low: float
    high: float
    at_once: int = 2
    has_grid: ClassVar[bool] = True

    @property
    def smooth(self) -> bool:
        """Whether every kind has a slope."""
        return not UNEVEN_CORRUPTIONS.intersection(self.kinds)

    @property
    def patterns(self) -> int:
        """How many random patterns there are to choose from."""
        return _PATTERNS if WITH_PATTERN.intersection(self.kinds) else 1

    def start(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), len(self.kinds) + 1, dtype=x.dtype, device=x.device)

    def render(self, x: Tensor, point: Tensor) -> Tensor:
        images = (x - self.low) / (self.high - self.low)
        if not self.smooth and point.requires_grad:  # a slope of zero, where there might be none at all
            images = images + 0 * point.sum(dim=1).view(-1, 1, 1, 1)
        pattern = point[:, -1].detach().long()
        touched = False
        for kind, share in zip(self.kinds, point[:, :-1].unbind(dim=1), strict=True):
            if share.requires_grad or bool((share > 0).any()):
                images, touched = IN_ORDER[kind](images, share * self.severity, pattern), True
        return (self.low + images * (self.high - self.low)).clamp(self.low, self.high) if touched else x

    def _fewest(self, shares: Tensor, by: Tensor) -> Tensor:
        """The shares, of which only the `at_once` greatest, as `by` ranks them, are kept."""
        if shares.shape[1] <= self.at_once:
            return shares
        kept = torch.zeros_like(shares).scatter(1, by.topk(self.at_once, dim=1).indices, 1)
        return shares * kept

    def project(self, x: Tensor, point: Tensor) -> Tensor:
        shares = point[:, :-1].clamp(0, 1)
        pattern = point[:, -1:].round().clamp(0, self.patterns - 1)
        return torch.cat([self._fewest(shares, by=shares), pattern], dim=1)

    def contains(self, x: Tensor, point: Tensor) -> Tensor:
        pattern = point[:, -1]
        drawn = (pattern == pattern.round()) & (pattern >= 0) & (pattern < self.patterns)
        return drawn & (point[:, :-1] >= 0).all(dim=1) & (self.size(x, point) <= 1)

    def size(self, x: Tensor, point: Tensor) -> Tensor:
        shares = point[:, :-1]
        too_many = (shares != 0).sum(dim=1) > self.at_once
        return torch.where(too_many, torch.inf, shares.abs().amax(dim=1))

    def sample(self, x: Tensor, rng: Generator) -> Tensor:
        """One to `at_once` kinds, each at the full severity in half of the cases, as what is worst mostly is."""
        size = (len(x), len(self.kinds))
        shares = (torch.rand(size, generator=rng) * 2).clamp(max=1)
        order = torch.rand(size, generator=rng).argsort(dim=1).argsort(dim=1)
        many = torch.randint(1, min(self.at_once, len(self.kinds)) + 1, (len(x), 1), generator=rng)
        pattern = torch.randint(self.patterns, (len(x), 1), generator=rng)
        return torch.cat([shares * (order < many), pattern.float()], dim=1).to(x)

    def ascend(self, x: Tensor, point: Tensor, gradient: Tensor, step: float | Tensor) -> Tensor:
        """All severities move; then those are kept that add most to the loss.  The pattern stays."""
        length = torch.as_tensor(step, dtype=point.dtype, device=point.device).view(-1, 1)
        slope = gradient[:, :-1]
        shares = (point[:, :-1] + slope.sign() * length).clamp(0, 1)
        shares = self._fewest(shares, by=slope * shares)
        return self.project(x, torch.cat([shares, point[:, -1:]], dim=1))

    def scaled(self, factor: float) -> Self:
        return replace(self, severity=min(self.severity * factor, 5.0))

    def grid(self, x: Tensor) -> Tensor:
        """Every kind alone at five severities, every pair at half and whole severities; the strongest first.

        Kinds with a random pattern are also tried alone at full severity under three other ones.
        """
        count = len(self.kinds)
        rows = [[0.0] * (count + 1)]
        for kind in range(count):
            for share in (0.2, 0.4, 0.6, 0.8, 1.0):
                rows.append([share * (kind == at) for at in range(count)] + [0.0])
            if self.kinds[kind] in WITH_PATTERN:
                for pattern in range(1, _GRID_PATTERNS):
                    rows.append([float(kind == at) for at in range(count)] + [float(pattern)])
        for one, other in combinations(range(count), 2) if self.at_once > 1 else ():
            for shares in ((0.5, 0.5), (0.5, 1.0), (1.0, 0.5), (1.0, 1.0)):
                both = dict(zip((one, other), shares, strict=True))
                rows.append([both.get(at, 0.0) for at in range(count)] + [0.0])
        points = torch.tensor(rows)
        return points[points[:, :-1].sum(dim=1).argsort(descending=True, stable=True)].to(x)

    @property
    def members(self) -> tuple[PerturbationSet, ...]:
        return (self,)

    def __str__(self) -> str:
        most = f", {self.at_once} at once" if len(self.kinds) > 1 else ""
        return f"{' + '.join(self.kinds)} of severity {self.severity:.6g}{most}"
