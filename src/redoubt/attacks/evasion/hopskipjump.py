"""HopSkipJump: walk along the border between classes, by labels alone (Chen, Jordan and Wainwright 2020)."""

import contextlib
import math
from collections.abc import Generator as Coroutine
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.lockstep import Hunt, Told, bisect, run_lockstep
from redoubt.attacks.evasion.rays import RayS
from redoubt.attacks.evasion.standing import affordable_queries
from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.norms import L2Ball, LinfBall
from redoubt.records import Access, Budget

Ball = LinfBall | L2Ball

_STARTS = 100  # points tried for a first wrong answer
_GRAINS = (1, 4, 2, 8)
_SMALLEST_STEP = 1e-4  # of the input range: a step that is cut shorter leads nowhere


@dataclass(frozen=True, eq=False)
class Starts:
    """Inputs that an attacker has, `[N, *shape]`; evidence knows them by `name`."""

    x: Tensor
    name: str

    def __repr__(self) -> str:
        return f"Starts({self.name!r})"


@dataclass(frozen=True)
class HopSkipJump(EvasionAttack):
    """From a wrong answer far away: bisect to the border, estimate its normal there by asking, step, and again.

    Algorithm 2 of the paper, for Linf and L2, with two changes.  One the set allows: of each line to the border, the
    point where it enters the ball is asked first, and bisection looks only outside.  And the walk begins at the nearest
    wrong answer that RayS finds in its first queries: on images that lies nearer than the border on the way to noise.

    A refusal is never taken for a label: a refused start is drawn anew, a bisection cuts elsewhere, a refused sample is
    left out of the estimate, and a refused step is halved.

    Does not cover: other sets; models whose answers change between two askings; inputs for which no random point of
    the input range gets another label.

    Attributes:
        queries: per example.
        samples: of the first estimate; that of step t takes sqrt(t) times as many (B_0 of the paper).
        most: samples of any estimate.
        sketch: queries for RayS, to find a start; 0 begins at noise, as the paper does.
        starts: inputs to begin at instead, the nearest first.
    """

    queries: int = 5000
    samples: int = 100
    most: int = 1000
    sketch: int = 500
    starts: Starts | None = None
    name: ClassVar[str] = "hopskipjump"
    needs: ClassVar[Access] = Access.LABEL

    def refuses(self, within: PerturbationSet) -> str | None:
        """Sets other than Linf and L2 balls."""
        return None if isinstance(within, Ball) else f"{within} is neither an Linf nor an L2 ball"

    @property
    def parameters(self) -> dict[str, bool | int | float | str | None]:
        """Those of the search, and the name of the starts."""
        starts = self.starts.name if self.starts else None
        return {
            "queries": self.queries,
            "samples": self.samples,
            "most": self.most,
            "sketch": self.sketch,
            "starts": starts,
        }

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        if not isinstance(within, Ball):
            return within.start(x)
        hunts = [self._hunt(clean[None], within, rng) for clean in x]
        return run_lockstep(model, x, y, within, affordable_queries(budget, self.queries), hunts)

    def _hunt(self, x: Tensor, ball: Ball, rng: Generator) -> Hunt:
        """`x` and every point here are `[1, *shape]`."""
        if self.starts is None:
            far = (yield from _sketched(x, ball, self.sketch)) if self.sketch else None
            far = (yield from _start(x, ball, rng)) if far is None else far
        else:
            far = yield from _nearest(x, self.starts.x, ball)
        if far is None:
            return
        border = yield from _to_border(x, far, ball)
        step = 0
        while True:
            step += 1
            size = float(ball.length(border - x))
            wide = 0.1 * (ball.high - ball.low) if step == 1 else _reach(x, size, ball)
            count = min(math.ceil(self.samples * math.sqrt(step)), self.most)
            normal = yield from _normal(border, wide, count, ball, rng)
            if normal is None:
                continue
            length = size / math.sqrt(step)
            while length > _SMALLEST_STEP * (ball.high - ball.low):
                candidate = (border + length * normal).clamp(ball.low, ball.high)
                told = yield candidate
                if told.fooled:
                    border = yield from _to_border(x, candidate, ball)
                    break
                length /= 2


def _sketched(x: Tensor, ball: Ball, queries: int) -> Coroutine[Tensor, Told, Tensor | None]:
    """The nearest wrong answer outside the ball among the first queries of RayS; None if there was none."""
    search = RayS().hunt(x[0], ball)
    nearest: Tensor | None = None
    with contextlib.suppress(StopIteration):
        point = next(search)
        for _ in range(queries):
            told = yield point
            if told.fooled and (nearest is None or bool(ball.length(told.points[:1] - x) < ball.length(nearest - x))):
                nearest = told.points[:1]
            point = search.send(told)
    search.close()
    return nearest


def _start(x: Tensor, ball: Ball, rng: Generator) -> Coroutine[Tensor, Told, Tensor | None]:
    """Some input that is answered wrongly: uniform noise, as in the paper, and in turn coarser grains of it.

    Many a network gives one label to all fine noise, and its inputs of that label would have no start.
    """
    for attempt in range(_STARTS):
        noise = _noise(x.shape, _GRAINS[attempt % len(_GRAINS)], rng).to(x) * (ball.high - ball.low) + ball.low
        if (yield noise).fooled:
            return noise
    return None


def _nearest(x: Tensor, starts: Tensor, ball: Ball) -> Coroutine[Tensor, Told, Tensor | None]:
    """The nearest of the inputs that is answered wrongly."""
    starts = starts.to(x)
    for at in ball.length(starts - x).argsort()[:_STARTS].tolist():
        if (yield starts[at : at + 1]).fooled:
            return starts[at : at + 1]
    return None


def _noise(shape: torch.Size, grain: int, rng: Generator) -> Tensor:
    """Uniform in 0..1, the same within blocks of `grain` by `grain` values of the last two dimensions."""
    *front, height, width = shape if len(shape) > 2 else (1, *shape)
    coarse = torch.rand((*front, math.ceil(height / grain), math.ceil(width / grain)), generator=rng)
    fine = coarse.repeat_interleave(grain, dim=-2).repeat_interleave(grain, dim=-1)
    return fine[..., :height, :width].reshape(shape)


def _to_border(x: Tensor, wrong: Tensor, ball: Ball) -> Coroutine[Tensor, Told, Tensor]:
    """The point nearest to x known to be answered wrongly, of those that `wrong` becomes as it is moved towards x.

    Moved as in the paper's equations 8 and 9: along the line for L2, by clipping for Linf; which is to project into a
    smaller ball.
    """
    outer = float(ball.length(wrong - x))

    def at(distance: float) -> Tensor:
        return wrong if distance >= outer else ball.scaled(distance / ball.radius).project(x, wrong)

    tolerance = outer / x.numel() ** (1.5 if isinstance(ball, L2Ball) else 2)
    tolerance = max(tolerance, 1e-5 * (ball.high - ball.low))  # float32 tells no more apart
    return at((yield from bisect(at, ball.radius, outer, tolerance)))


def _reach(x: Tensor, size: float, ball: Ball) -> float:
    """How far around the border samples are drawn (delta_t): d^-1 of its distance, as in the paper's section IV-C."""
    return max(size / x.numel(), 1e-3 * (ball.high - ball.low))


def _normal(
    border: Tensor, reach: float, count: int, ball: Ball, rng: Generator
) -> Coroutine[Tensor, Told, Tensor | None]:
    """Estimate of the border's normal, towards wrong answers (equation 16): a unit step of the ball's norm.

    None if every sample was refused.
    """
    shape = (count, *border.shape[1:])
    gaussian = isinstance(ball, L2Ball)
    drawn = torch.randn(shape, generator=rng) if gaussian else torch.rand(shape, generator=rng) * 2 - 1
    drawn = drawn.to(border)
    drawn /= drawn.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, *[1] * (border.dim() - 1))
    told = yield (border + reach * drawn).clamp(ball.low, ball.high)
    heard = ~told.refused
    if not heard.any():
        return None
    moves = ((told.points - border) / reach)[heard]
    values = 2.0 * told.wrong[heard].to(moves) - 1
    mean = values.mean()
    weights = values if abs(float(mean)) == 1 else values - mean  # the baseline that lowers the variance
    gradient = (moves * weights.view(-1, *[1] * (moves.dim() - 1))).mean(dim=0, keepdim=True)
    if isinstance(ball, LinfBall):
        return gradient.sign()
    return torch.nn.functional.normalize(gradient.flatten(1)).view_as(gradient)
