"""RayS: a search over directions of signs, by labels alone (Chen and Gu 2020)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.lockstep import Hunt, bisect, run_lockstep
from redoubt.attacks.evasion.standing import affordable_queries
from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.norms import L2Ball, LinfBall
from redoubt.records import Access, Budget

Ball = LinfBall | L2Ball

_COARSEST = 1 / 16  # of the range's width: the tolerance of the first bisections, halved at each size of blocks


@dataclass(frozen=True)
class RayS(EvasionAttack):
    """Look for the direction in {-1, +1}^d along which the border lies nearest, flipping ever smaller blocks of signs.

    Algorithms 1 and 2 of the paper (hierarchical search), with two changes.  Whether a direction leads to a wrong
    answer inside the ball is asked first, so that the bisection need not look below the radius.  And bisections are
    coarse while the blocks are large, since the next blocks will bring the border nearer by more.

    The paper has Linf only.  In L2 it pays to leave pixels alone, so directions are of {-1, 0, +1}^d there: of each
    block both other values are tried.  A ray is bent where it meets the walls of the input range: what a pixel cannot
    move, the others move further, until the move has its length.

    A refusal is never taken for a label: it closes a block's flip until the next round over the blocks, and a bisection
    cuts elsewhere.  Deterministic: it draws nothing from `rng`.

    Does not cover: other norms; models whose answers change between two askings; borders that only moves of
    many unequal sizes reach.  In L2, inputs whose neighbouring coordinates are unrelated fall sooner to HopSkipJump.

    Attributes:
        queries: per example.
        tolerance: at which the finest bisection ends, as a share of the longest move in the input range.
    """

    queries: int = 5000
    tolerance: float = 1e-4
    name: ClassVar[str] = "rays"
    needs: ClassVar[Access] = Access.LABEL

    def refuses(self, within: PerturbationSet) -> str | None:
        """Sets other than Linf and L2 balls."""
        return None if isinstance(within, Ball) else f"{within} is neither an Linf nor an L2 ball"

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        if not isinstance(within, Ball):
            return within.start(x)
        hunts = [self.hunt(clean, within) for clean in x]
        return run_lockstep(model, x, y, within, affordable_queries(budget, self.queries), hunts)

    def hunt(self, x: Tensor, ball: Ball) -> Hunt:
        """The search for one input `[*shape]`: endless, unless no direction changes anything."""
        span, size = ball.high - ball.low, x.numel()
        width = float(ball.length(torch.full_like(x, span)[None]))
        direction, best = torch.ones_like(x), width
        here = _along(x, direction, ball, best)
        blocks, tolerance, changed = 1, _COARSEST, False
        while True:
            length = math.ceil(size / blocks)
            for begin in range(0, size, length):
                for attempt in _others(direction, slice(begin, begin + length), ball):
                    point = _along(x, attempt, ball, best)
                    if torch.equal(point, here) or torch.equal(point[0], x):
                        continue  # the walls of the range undo the change
                    changed = True
                    told = yield point
                    if told.fooled:
                        along = partial(_along, x, attempt, ball)
                        nearest = yield from bisect(along, ball.radius, best, tolerance * width)
                        if nearest < best:
                            direction, best = attempt, nearest
                            here = _along(x, direction, ball, best)
            tolerance = max(tolerance / 2, self.tolerance)
            blocks *= 2
            if length == 1:  # all pixels were tried one by one: once more, from halves
                if not changed:
                    return
                blocks, changed = 2, False


def _others(direction: Tensor, block: slice, ball: Ball) -> Iterator[Tensor]:
    """The direction with its block reversed; in L2, where the block is alike, also with each other value in it."""
    here = direction.view(-1)[block]
    if isinstance(ball, L2Ball) and bool((here == here[0]).all()):
        changed = [torch.full_like(here, value) for value in (1, -1, 0) if value != here[0]]
    else:
        changed = [-here]
    for values in changed:
        attempt = direction.clone()
        attempt.view(-1)[block] = values
        yield attempt


def _along(x: Tensor, direction: Tensor, ball: Ball, distance: float) -> Tensor:
    """The point `[1, *shape]` at that distance along the direction; the last one before the ray ends in a corner."""
    stretch = distance if isinstance(ball, LinfBall) else _stretch(x, direction, ball, distance)
    point = (x + stretch * direction).clamp(ball.low, ball.high)[None]
    return ball.project(x[None], point) if distance <= ball.radius else point


def _stretch(x: Tensor, direction: Tensor, ball: L2Ball, distance: float) -> float:
    """By how much to multiply the direction, so that the move, cut by the range, has that length; or all there is.

    Pixels stop at the walls one after another, as they have less room or more: between two stops the length grows as
    the square root of what has stopped and of what still moves, so the stop before the length is found by its order.
    """
    room = torch.where(direction > 0, ball.high - x, x - ball.low) * direction.abs()
    room = room.flatten().double().sort().values
    squares = room.square()
    stopped = squares.cumsum(0) - squares
    moving = torch.arange(len(room), 0, -1, device=x.device)
    at = int(torch.searchsorted(stopped + moving * squares, distance**2))
    if at == len(room):
        return float(room[-1])
    return math.sqrt(max(distance**2 - float(stopped[at]), 0.0) / float(moving[at]))
