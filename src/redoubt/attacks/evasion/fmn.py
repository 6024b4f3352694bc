"""Fast minimum-norm attack: the radius itself is searched while the point moves (Pintor et al. 2021)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.nearest import Nearest
from redoubt.models.leak import SHARE
from redoubt.models.meter import Metered, Slope
from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.norms import NormBall
from redoubt.records import Access, Budget

_MOMENTUM = 0.5
_FIRST, _SECOND = (0.5, 0.1), (0.1, 0.02)  # of the two stages: longest step, and change of the radius, as shares of it
_LEAST_STEP, _LEAST_CHANGE = 0.02, 1e-3  # what the cosine schedule ends at: a share of the longest step; of the radius


@dataclass(frozen=True)
class FMN(EvasionAttack):
    """Steepest ascent towards a class inside a ball whose radius shrinks at wrong answers and grows at right ones.

    Linf, L2, L1 and L0, by the norm of the set.  It differs from algorithm 1 of the paper: steps are the steepest of
    the norm itself, with momentum, and as long as the radius asks; each of the likeliest wrong classes has a short run
    from the clean input, and the one that came nearest is followed further from where it got to.  No class may use a
    radius at which another one has succeeded, so what is spent on the wrong class is little.  The short runs follow
    slopes that see past rectified units that are off (`redoubt.models.leak`): by its own slopes, a network that was
    hardened in Linf seems to stand twice as far in L2 and five times as far in L1.

    Does not cover randomised models nor parts without a useful gradient.

    Attributes:
        targets: classes tried, the likeliest first; all the others when there are fewer.
        steps: slopes of the run towards each of them, of 2 passes each, and one forward pass at its end.
        refine: slopes of the run that follows, towards the class that came nearest.
        nearest: whether to go on to the end when a wrong point of the set is known, and so to propose the nearest wrong
            point that was found: for the whole curve of robust accuracy against radius.
    """

    targets: int = 5
    steps: int = 10
    refine: int = 40
    nearest: bool = False
    name: ClassVar[str] = "fmn"
    needs: ClassVar[Access] = Access.GRADIENTS

    def refuses(self, within: PerturbationSet) -> str | None:
        """Sets that are no norm balls."""
        return None if isinstance(within, NormBall) else f"{within} is no norm ball"

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        left = math.inf if budget.passes is None else budget.passes
        if not isinstance(within, NormBall) or left < 1:
            return within.start(x)
        nearest = Nearest(model, x, y, within, through=self.nearest)
        targets = min(self.targets, model.face.classes - 1)
        likeliest = model.logits(x).scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)[:, :targets]
        left -= 1
        points = x[:, None].repeat(1, targets, *[1] * (x.dim() - 1))
        lengths = torch.full((len(x), targets), torch.inf, dtype=x.dtype, device=x.device)
        for rank in range(targets):
            steps = int(min(self.steps, (left - 1) // 2))
            if steps < 1 or not len(nearest):
                return nearest.proposals()
            run = _Run.begin(nearest, likeliest[nearest.rows, rank], nearest.x, lengths[nearest.rows, rank])
            _descend(nearest, run, steps, *_FIRST, leak=SHARE)
            points[nearest.rows, rank], lengths[nearest.rows, rank] = run.best, run.best_length
            left -= 2 * steps + 1
        steps = int(min(self.refine, (left - 1) // 2))
        if steps >= 1 and len(nearest):
            rows = nearest.rows
            rank_of_best = lengths[rows].argmin(dim=1)
            start, reached = points[rows, rank_of_best], lengths[rows, rank_of_best]
            run = _Run.begin(nearest, likeliest[rows, rank_of_best], start, reached)
            _descend(nearest, run, steps, *_SECOND, leak=0.0)
        return nearest.proposals()


@dataclass
class _Run:
    """One run's state; every tensor has a row per example that is not done."""

    target: Tensor
    point: Tensor
    before: Tensor  # the point one step earlier, for the momentum
    radius: Tensor  # what the next point may use; infinite before the first step
    found: Tensor  # whether the class has been reached
    best: Tensor  # the nearest wrong point of this run
    best_length: Tensor

    @classmethod
    def begin(cls, nearest: Nearest, target: Tensor, start: Tensor, reached: Tensor) -> "_Run":
        """From points `start`; `reached` is how near a wrong answer they are known to be, infinite if they are not."""
        found = reached.isfinite()
        return cls(target, start, start, reached, found, start, torch.full_like(nearest.lengths, torch.inf))

    def keep(self, rows: Tensor) -> None:
        for name, value in vars(self).items():
            setattr(self, name, value[rows])

    def learn(self, length: Tensor, wrong: Tensor) -> None:
        """Note the points that are wrong and nearer than any before."""
        better = wrong & (length < self.best_length)
        self.best = torch.where(_rows(better, self.best), self.point, self.best)
        self.best_length = torch.where(better, length, self.best_length)

    def resize(self, length: Tensor, wrong: Tensor, slope: Slope, ball: NormBall, change: float) -> None:
        """Shrink the radius at wrong answers; else let it grow, to where the first wrong one is expected, or a bit."""
        expected = length + slope.loss.abs() / ball.dual(slope.gradient).clamp_min(1e-12)
        larger = torch.maximum(self.radius * (1 + change), self.radius + ball.grain)
        grown = torch.where(self.found, larger, expected * (1 + change) + ball.grain)  # beyond it, not just short
        known = torch.minimum(self.radius, self.best_length)
        shrunk = torch.minimum(known * (1 - change), known - ball.grain).clamp_min(0)
        self.radius = torch.where(wrong, shrunk, grown)
        self.found = self.found | wrong


def _descend(nearest: Nearest, run: _Run, steps: int, longest: float, change: float, *, leak: float) -> None:
    """One run of every example that is not done: `steps` slopes, and one forward pass for the last point."""
    ball = nearest.ball
    for step in range(steps):
        annealed = (1 + math.cos(math.pi * step / steps)) / 2

        def towards(logits: Tensor) -> Tensor:
            pair = torch.stack([run.target, nearest.y], dim=1)
            target, true = logits.gather(1, pair).unbind(dim=1)
            return target - true

        slope = nearest.model.leaking(leak).slope(run.point, towards)
        wrong = slope.fooled(nearest.y)
        length = ball.length(run.point - nearest.x)
        run.learn(length, wrong)
        run.resize(length, wrong, slope, ball, _LEAST_CHANGE + (change - _LEAST_CHANGE) * annealed)
        gradient = slope.gradient
        keep = nearest.learn(run.point, wrong)
        if keep is not None:
            run.keep(keep)
            gradient = gradient[keep]
            if not len(nearest):
                return
        run.radius = torch.minimum(run.radius, nearest.lengths).clamp_max(ball.most(nearest.x.shape[1:]))
        reach = run.radius * longest * (_LEAST_STEP + (1 - _LEAST_STEP) * annealed)
        there = run.point + ball.best_move(run.point, gradient, reach) + _MOMENTUM * (run.point - run.before)
        run.before = run.point
        run.point = ball.within(nearest.x, there, run.radius)
    wrong = nearest.model.logits(run.point).argmax(dim=1) != nearest.y
    run.learn(ball.length(run.point - nearest.x), wrong)
    keep = nearest.learn(run.point, wrong)
    if keep is not None:
        run.keep(keep)


def _rows(values: Tensor, like: Tensor) -> Tensor:
    """`[B]` shaped to broadcast against `[B, ...]`."""
    return values.view(-1, *[1] * (like.dim() - 1))
