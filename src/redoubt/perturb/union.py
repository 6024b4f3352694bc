"""Unions of sets: the adversary picks one member for each input."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Generator, Tensor

from redoubt.perturb.base import PerturbationSet, Vote


@dataclass(frozen=True)
class Union(PerturbationSet):
    """All points of all parts (Tramer and Boneh 2019).

    A point is `[B, 1 + P]`: the index of the part, then the part's own point, flattened and padded with zeros to the
    longest.  Steps stay within a part; `sample` picks parts at random.  The game plays each part on its own.
    """

    parts: tuple[PerturbationSet, ...]

    def _routed(
        self, x: Tensor, point: Tensor, verb: Callable[[PerturbationSet, Tensor, Tensor, Tensor], Tensor], out: Tensor
    ) -> Tensor:
        """Run `verb(part, rows, x_rows, part_points)` for the rows of each part, and put the results into `out`."""
        choice = point[:, 0].round().long().clamp(0, len(self.parts) - 1)
        for index, part in enumerate(self.parts):
            rows = (choice == index).nonzero().squeeze(1)
            if len(rows):
                out = out.index_copy(0, rows, verb(part, rows, x[rows], self._unpack(part, x[rows], point[rows])))
        return out

    def _unpack(self, part: PerturbationSet, x: Tensor, point: Tensor) -> Tensor:
        shape = part.start(x[:1]).shape[1:]
        return point[:, 1 : 1 + shape.numel()].reshape(len(x), *shape)

    def _pack(self, index: int, part_point: Tensor, width: int) -> Tensor:
        flat = part_point.flatten(1)
        packed = flat.new_zeros(len(flat), width)
        packed[:, 0] = index
        packed[:, 1 : 1 + flat.shape[1]] = flat
        return packed

    def _width(self, x: Tensor) -> int:
        return 1 + max(part.start(x[:1]).numel() for part in self.parts)

    def start(self, x: Tensor) -> Tensor:
        return self._pack(0, self.parts[0].start(x), self._width(x))

    def render(self, x: Tensor, point: Tensor) -> Tensor:
        return self._routed(x, point, lambda part, _, xs, p: part.render(xs, p), torch.zeros_like(x))

    def draw(self, x: Tensor, point: Tensor, rng: Generator) -> Tensor:
        return self._routed(x, point, lambda part, _, xs, p: part.draw(xs, p, rng), torch.zeros_like(x))

    @property
    def vote(self) -> Vote:
        """The strictest of the parts'; the game plays each part on its own, by its own."""
        votes = [part.vote for part in self.parts]
        return Vote(max(vote.draws for vote in votes), max(vote.share for vote in votes))

    @property
    def smooth(self) -> bool:
        return any(part.smooth for part in self.parts)

    def size(self, x: Tensor, point: Tensor) -> Tensor:
        return self._routed(x, point, lambda part, _, xs, p: part.size(xs, p), point.new_zeros(len(x)))

    def contains(self, x: Tensor, point: Tensor) -> Tensor:
        inside = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        return self._routed(x, point, lambda part, _, xs, p: part.contains(xs, p), inside)

    def project(self, x: Tensor, point: Tensor) -> Tensor:
        def verb(part: PerturbationSet, _: Tensor, xs: Tensor, p: Tensor) -> Tensor:
            return self._pack(self.parts.index(part), part.project(xs, p), point.shape[1])

        return self._routed(x, point, verb, torch.zeros_like(point))

    def sample(self, x: Tensor, rng: Generator) -> Tensor:
        width = self._width(x)
        choice = torch.randint(len(self.parts), (len(x),), generator=rng)
        drawn = [self._pack(index, part.sample(x, rng), width) for index, part in enumerate(self.parts)]
        return torch.stack(drawn)[choice, torch.arange(len(x))]

    def ascend(self, x: Tensor, point: Tensor, gradient: Tensor, step: float | Tensor) -> Tensor:
        steps = torch.as_tensor(step, dtype=x.dtype, device=x.device).expand(len(x))

        def verb(part: PerturbationSet, rows: Tensor, xs: Tensor, p: Tensor) -> Tensor:
            slope = self._unpack(part, xs, gradient[rows])
            return self._pack(self.parts.index(part), part.ascend(xs, p, slope, steps[rows]), point.shape[1])

        return self._routed(x, point, verb, torch.zeros_like(point))

    def scaled(self, factor: float) -> Self:
        return replace(self, parts=tuple(part.scaled(factor) for part in self.parts))

    def everything(self) -> PerturbationSet | None:
        return next((whole for part in self.parts if (whole := part.everything())), None)

    @property
    def members(self) -> tuple[PerturbationSet, ...]:
        return self.parts

    def __str__(self) -> str:
        return " or ".join(str(part) for part in self.parts)
