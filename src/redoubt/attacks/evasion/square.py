"""Square attack: random search over squares, by scores alone (Andriushchenko et al. 2020)."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.losses import margin
from redoubt.attacks.evasion.standing import Standing, affordable_queries
from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.norms import L2Ball, LinfBall
from redoubt.records import Access, Budget

# The squares' share of the image is halved after so many of 10,000 queries, sooner than in the paper while there are
# few: most images that fall do so within tens.  A smaller budget goes through it faster, but at most so many times.
_HALVINGS = (4, 15, 50, 150, 400, 1000, 2500, 5000, 8000)
_FASTEST = 4
LARGEST = 0.8


def share_at(query: int, queries: int, largest: float = LARGEST) -> float:
    """The share of the pixels that a square covers, at one of so many queries.

    >>> share_at(0, 5000)
    0.8
    """
    halved = sum(query * min(10_000 / queries, _FASTEST) > at for at in _HALVINGS)
    return largest * 0.5**halved


@dataclass(frozen=True)
class Square(EvasionAttack):
    """Keep a random square's change whenever it lowers the margin.  Needs scores, not gradients.

    An Linf square takes the other sign where the one drawn would change nothing, as half of the small squares would in
    the paper, which are mostly of one sign already.

    Tells masked gradients from robustness: where it beats gradient attacks, those were fooled.  Inputs that are not
    images `[C, H, W]` are taken as one row of pixels.  Linf and L2 only.

    Attributes:
        queries: per example.
        share: share of the pixels that the first squares cover (p of the paper).
    """

    queries: int = 5000
    share: float = LARGEST
    name: ClassVar[str] = "square"
    needs: ClassVar[Access] = Access.SCORES

    def refuses(self, within: PerturbationSet) -> str | None:
        """Sets other than Linf and L2 balls."""
        return None if isinstance(within, LinfBall | L2Ball) else f"{within} is neither an Linf nor an L2 ball"

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        if not isinstance(within, LinfBall | L2Ball):
            return within.start(x)
        standing = Standing(model, x, y, within)
        draw = squares_of(within, rng)
        queries = affordable_queries(budget, self.queries)
        if queries < 1:
            return standing.points
        best = draw.first(x)
        lowest = torch.full((len(x),), -torch.inf).to(x)
        candidate = best
        for query in range(queries):
            if query:
                candidate = draw.change(standing.x, best, share_at(query, queries, self.share))
            answer = standing.model.query(candidate)
            if answer.scores is None:
                break
            candidate = answer.to(candidate)
            gain = torch.where(answer.refused, -torch.inf, margin(answer.scores, standing.y))
            better = gain > lowest
            lowest = torch.where(better, gain, lowest)
            best = torch.where(better.view(-1, *[1] * (x.dim() - 1)), candidate, best)
            keep = standing.fell((answer.labels != standing.y) & ~answer.refused, candidate)
            if keep is not None:
                lowest, best = lowest[keep], best[keep]
                if not len(standing):
                    return standing.points
        standing.propose(best)
        return standing.points


def squares_of(within: LinfBall | L2Ball, rng: Generator) -> "_LinfSquares | _L2Squares":
    """The random changes of a ball: `first` start of all, and `change` of the best so far."""
    return _LinfSquares(within, rng) if isinstance(within, LinfBall) else _L2Squares(within, rng)


def _as_images(x: Tensor) -> Tensor:
    """`[B, C, H, W]`; what is no image becomes one row of pixels."""
    return x if x.dim() == 4 else x.reshape(len(x), 1, 1, -1)


def _side(share: float, height: int, width: int) -> tuple[int, int]:
    """Height and width of a window that covers that share of the pixels, as square as the image allows."""
    area = share * height * width
    tall = min(max(round(math.sqrt(area)), 1), height)
    return tall, min(max(round(area / tall), 1), width)


@dataclass(frozen=True)
class _Squares:
    within: LinfBall | L2Ball
    rng: Generator

    def signs(self, *shape: int) -> Tensor:
        return (torch.randint(0, 2, shape, generator=self.rng) * 2 - 1).float()

    def corner(self, room_high: int, room_wide: int) -> tuple[int, int]:
        top, left = (int(torch.randint(0, room + 1, (), generator=self.rng)) for room in (room_high, room_wide))
        return top, left


class _LinfSquares(_Squares):
    """Section 3.2 of the paper: changes of one whole radius up or down, constant over a square."""

    def first(self, x: Tensor) -> Tensor:
        images = _as_images(x)
        stripes = self.signs(len(images), images.shape[1], 1, images.shape[3]).to(x) * self.within.radius
        return self.within.project(x, (images + stripes).view_as(x))

    def change(self, x: Tensor, best: Tensor, share: float) -> Tensor:
        images = _as_images(best).clone()
        count, channels, height, width = images.shape
        tall, wide = _side(share, height, width)
        top, left = self.corner(height - tall, width - wide)
        window, clean = (part[:, :, top : top + tall, left : left + wide] for part in (images, _as_images(x)))
        signs = self.signs(count, channels, 1, 1).to(x)
        nothing = (self._moved(clean, signs) == window).flatten(1).all(dim=1).view(-1, 1, 1, 1)
        window.copy_(self._moved(clean, torch.where(nothing, -signs, signs)))
        return images.view_as(x)

    def _moved(self, clean: Tensor, signs: Tensor) -> Tensor:
        """Every pixel one whole radius up or down, `signs` `[B, C, 1, 1]`."""
        return (clean + signs * self.within.radius).clamp(self.within.low, self.within.high)


class _L2Squares(_Squares):
    """Section 3.3 of the paper: move the mass of one window into another, in the shape of two opposite bumps."""

    def first(self, x: Tensor) -> Tensor:
        images = _as_images(x)
        count, channels, height, width = images.shape
        tall, wide = max(height // 5, 1), max(width // 5, 1)
        move = torch.zeros_like(images)
        for top in range(0, height - tall + 1, tall):
            for left in range(0, width - wide + 1, wide):
                bumps = self._bumps(tall, wide).to(x) * self.signs(count, channels, 1, 1).to(x)
                move[:, :, top : top + tall, left : left + wide] += bumps
        return self._on_sphere(x, move)

    def change(self, x: Tensor, best: Tensor, share: float) -> Tensor:
        move = _as_images(best - x).clone()
        count, channels, height, width = move.shape
        tall, wide = _side(share, height, width)
        tall, wide = min(max(tall, 3), height), min(max(wide, 3), width)
        (top, left), (top2, left2) = (self.corner(height - tall, width - wide) for _ in range(2))
        here = (slice(None), slice(None), slice(top, top + tall), slice(left, left + wide))
        there = (slice(None), slice(None), slice(top2, top2 + tall), slice(left2, left2 + wide))
        either = torch.zeros_like(move)
        either[here], either[there] = 1, 1
        unused = (self.within.radius**2 - move.flatten(1).square().sum(dim=1)).clamp_min(0)
        mass = (unused.view(-1, 1, 1, 1) / channels + ((move * either) ** 2).sum((2, 3), keepdim=True)).sqrt()
        old = move[here] / _norm(move[here])
        new = self._bumps(tall, wide).to(x) * self.signs(count, channels, 1, 1).to(x) + old
        move[there] = 0
        move[here] = new / _norm(new) * mass
        return self._on_sphere(x, move)

    def _on_sphere(self, x: Tensor, move: Tensor) -> Tensor:
        length = move.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, *[1] * (x.dim() - 1))
        return self.within.project(x, x + move.view_as(x) * (self.within.radius / length))

    def _bumps(self, tall: int, wide: int) -> Tensor:
        """Two bumps side by side, one up and one down, of norm 1, `[tall, wide]`."""
        across = bool(torch.randint(0, 2, (), generator=self.rng)) or tall < 2
        rows, columns = (wide, tall) if across else (tall, wide)
        half = rows // 2
        both = torch.cat([_bump(half, columns), -_bump(rows - half, columns)]) if half else _bump(rows, columns)
        return _unit(both.T if across else both)


def _unit(window: Tensor) -> Tensor:
    return window / window.square().sum().sqrt().clamp_min(1e-12)


def _norm(windows: Tensor) -> Tensor:
    return (windows**2).sum((2, 3), keepdim=True).sqrt() + 1e-12


@lru_cache(maxsize=256)
def _bump(tall: int, wide: int) -> Tensor:
    """Nested rectangles of falling weight 1 / k^2 around the centre, of norm 1 (eq. 3 of the paper)."""
    bump = torch.zeros(tall, wide)
    row, column = tall // 2, wide // 2
    for k in range(max(row, column) + 1):
        bump[max(row - k, 0) : row + k + 1, max(column - k, 0) : column + k + 1] += 1 / (k + 1) ** 2
    return _unit(bump)
