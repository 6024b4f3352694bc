"""Auto-PGD: steps that shorten themselves (Croce and Hein 2020)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.losses import cross_entropy, dlr, dlr_targeted
from redoubt.attacks.evasion.standing import Standing, affordable
from redoubt.models.meter import Metered, Slope
from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.norms import L1Ball
from redoubt.records import Access, Budget

Loss = Callable[[Tensor, Tensor], Tensor]

_MOMENTUM = 0.75  # alpha of the paper
_EARLY = 0.3  # share of an L1 climb's steps in each of the two wider balls
_IMPROVING = 0.75  # rho: share of steps that must raise the loss for the step length to be kept


@dataclass
class _Climb:
    """One climb's state; every tensor has a row per example still standing."""

    point: Tensor
    before: Tensor  # the point one step earlier, for the momentum
    gradient: Tensor
    best: Tensor  # the point of highest loss so far
    best_gradient: Tensor
    best_loss: Tensor
    last_loss: Tensor
    step: Tensor  # share of the radius
    rises: Tensor  # steps since the last check that raised the loss
    checked_loss: Tensor  # best loss at the last check
    halved: Tensor  # whether the last check halved the step

    @classmethod
    def begin(cls, point: Tensor, slope: Slope) -> "_Climb":
        loss = slope.loss
        return cls(
            point,
            point,
            slope.gradient,
            point,
            slope.gradient,
            loss,
            loss,
            step=torch.full_like(loss, 2.0),
            rises=torch.zeros_like(loss),
            checked_loss=loss,
            halved=torch.ones_like(loss, dtype=torch.bool),
        )

    def keep(self, rows: Tensor) -> None:
        for name, value in vars(self).items():
            setattr(self, name, value[rows])

    def move(self, x: Tensor, within: PerturbationSet, *, first: bool) -> None:
        """An ascent step, blended with the last one."""
        there = within.ascend(x, self.point, self.gradient, self.step)
        if not first:
            there = self.point + _MOMENTUM * (there - self.point) + (1 - _MOMENTUM) * (self.point - self.before)
            there = within.project(x, there)
        self.before, self.point = self.point, there

    def learn(self, slope: Slope) -> None:
        """Take in loss and gradient at the new point."""
        better = (slope.loss > self.best_loss) | self.best_loss.isnan()
        self.best = _choose(better, self.point, self.best)
        self.best_gradient = _choose(better, slope.gradient, self.best_gradient)
        self.best_loss = torch.where(better, slope.loss, self.best_loss)
        self.rises += (slope.loss > self.last_loss).to(self.rises)
        self.gradient, self.last_loss = slope.gradient, slope.loss

    def check(self, steps: int) -> None:
        """Halve the step, and go back to the best point, where the last `steps` steps did not pay."""
        stuck = ~self.halved & (self.checked_loss >= self.best_loss)
        halve = (self.rises <= _IMPROVING * steps) | stuck
        self.halved, self.checked_loss = halve, self.best_loss
        self.rises = torch.zeros_like(self.rises)
        self.step = torch.where(halve, self.step / 2, self.step)
        self.point = _choose(halve, self.best, self.point)
        self.gradient = _choose(halve, self.best_gradient, self.gradient)


def _choose(rows: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(rows.view(-1, *[1] * (yes.dim() - 1)), yes, no)


def _climb(standing: Standing, within: PerturbationSet, loss: Loss, steps: int, rng: Generator) -> None:
    """One climb of every example still standing: `steps` + 1 slopes each.

    In an L1 ball it begins in balls of three and two times the radius, where nobody can fall yet, and narrows down: few
    coordinates move at a time there, and a start inside the small ball gets stuck (Croce and Hein 2021, section 4.2).
    """
    start: Tensor | None = None
    if isinstance(within, L1Ball):
        early = max(math.ceil(_EARLY * steps), 1)
        for wider in (3.0, 2.0):
            if steps > 2 * early:
                start = _stage(standing, within.scaled(wider), loss, early - 1, rng, start, falling=False)
                steps -= early
    _stage(standing, within, loss, steps, rng, start, falling=True)


def _stage(
    standing: Standing,
    within: PerturbationSet,
    loss: Loss,
    steps: int,
    rng: Generator,
    start: Tensor | None,
    *,
    falling: bool,
) -> Tensor:
    """A climb in one set, from `start` or from a random point: `steps` + 1 slopes.

    Returns:
        The points of highest loss of the examples still standing; nobody falls unless `falling`.
    """

    def slope(point: Tensor) -> Slope:
        return standing.model.slope(point, lambda z: loss(z, standing.y), lambda p: within.render(standing.x, p))

    def drop(slope: Slope) -> Slope:
        keep = standing.fell(slope.fooled(standing.y), state.point) if falling else None
        if keep is None:
            return slope
        state.keep(keep)
        return slope.only(keep)

    point = within.sample(standing.x, rng) if start is None else within.project(standing.x, start)
    here = slope(point)
    state = _Climb.begin(point, here)
    drop(here)
    interval, since = max(int(0.22 * steps), 1), 0
    for step in range(steps):
        if not len(standing):
            break
        state.move(standing.x, within, first=step == 0)
        state.learn(drop(slope(state.point)))
        since += 1
        if since == interval:
            state.check(since)
            interval, since = max(interval - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1)), 0
    if falling:
        standing.propose(state.best)
    return state.best


@dataclass(frozen=True)
class APGD(EvasionAttack):
    """Auto-PGD, untargeted: momentum, a step that halves itself where the loss stops rising, restart from the best.

    Does not cover randomised models (average the gradient first) nor parts that have no useful gradient.

    Attributes:
        loss: `ce`, or `dlr`, which does not mind the scale of the logits.
        steps: gradient steps per start; each start costs `steps` + 1 slopes of 2 passes.
        restarts: random starts; those after the first are played by survivors only.
    """

    loss: Literal["ce", "dlr"] = "ce"
    steps: int = 100
    restarts: int = 1
    needs: ClassVar[Access] = Access.GRADIENTS

    @property
    def name(self) -> str:  # type: ignore[override]
        """`apgd-ce` or `apgd-dlr`."""
        return f"apgd-{self.loss}"

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        standing = Standing(model, x, y, within)
        slopes = affordable(budget, (self.steps + 1) * self.restarts, cost=2)
        while slopes > 1 and len(standing):
            steps = min(self.steps, slopes - 1)
            _climb(standing, within, cross_entropy if self.loss == "ce" else dlr, steps, rng)
            slopes -= steps + 1
        return standing.points


@dataclass(frozen=True)
class TargetedAPGD(EvasionAttack):
    """Auto-PGD on the targeted DLR loss, towards each of the likeliest wrong classes in turn.

    Attributes:
        targets: how many classes, the likeliest first; all the others when there are fewer.
        steps: gradient steps per target; each target costs `steps` + 1 slopes of 2 passes.
    """

    targets: int = 9
    steps: int = 100
    name: ClassVar[str] = "apgd-t"
    needs: ClassVar[Access] = Access.GRADIENTS

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        standing = Standing(model, x, y, within)
        targets = min(self.targets, model.face.classes - 1)
        slopes = affordable(budget, (self.steps + 1) * targets, cost=2, extra=1)
        if slopes < 2:
            return standing.points
        wrong = model.logits(x).scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)
        for rank in range(targets):
            steps = min(self.steps, slopes - 1)
            if steps < 1 or not len(standing):
                break

            def towards(logits: Tensor, labels: Tensor, rank: int = rank) -> Tensor:
                return dlr_targeted(logits, labels, wrong[standing.rows, rank])

            _climb(standing, within, towards, steps, rng)
            slopes -= steps + 1
        return standing.points
