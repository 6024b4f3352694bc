"""The climb that every candidate of the search is played with: momentum, falling steps, averaged gradients."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.adaptive.objectives import BEYOND, Aims, Objective
from redoubt.attacks.evasion.standing import Standing
from redoubt.models.base import Scored
from redoubt.models.meter import Metered, Slope
from redoubt.perturb.base import PerturbationSet

_MOMENTUM = 0.75
_FIRST, _LAST = 0.5, 0.02  # length of the first and the last step, as a share of the radius
ASKED, WRONG = 20, 19  # draws by which a point shows that it mostly fools a random model: more than the judge wants
_ASKINGS = 4  # times in a climb or a walk, which the budget sets aside
TO_ASK = ASKED * _ASKINGS
_RATE = 1.2  # by which a balanced objective weighs more what is lacking, each step


@dataclass(frozen=True)
class Manner:
    """How gradients are taken.

    Attributes:
        objective: what is climbed.
        samples: gradients averaged in a step.
        smooth: how far around the point they are taken, as a share of a random move of the set; 0 is at the point.
        random: whether the model draws at random, so that one answer says little.
        still: start from the clean input, for detectors that see any noise; else from random points.
    """

    objective: Objective
    samples: int = 1
    smooth: float = 0.0
    random: bool = False
    still: bool = False

    def cost(self, steps: int) -> int:
        """Passes of one climb, at most."""
        slopes = self.samples * (2 if self.objective.kind == "orthogonal" else 1)
        return steps * 2 * slopes + steps * (self.smooth > 0) + (TO_ASK if self.random else 0)


@dataclass
class Climbed:
    """Where a climb of B examples ended.

    Attributes:
        points: the best of each, `[B, ...]`.
        fooled: bool `[B]`: the model's own answer was wrong, and mostly so where it is random.
        height: of the best points, `[B]`, as `Aims.height`: 0 and above for who is fooled.
    """

    points: Tensor
    fooled: Tensor
    height: Tensor


def climb(
    model: Metered,
    x: Tensor,
    rows: Tensor,
    within: PerturbationSet,
    aims: Aims,
    manner: Manner,
    steps: int,
    rng: Generator,
    start: Tensor | None = None,
) -> Climbed:
    """Climb from random points of the set, from the clean inputs, or from `start`.

    Args:
        model: the handle for exactly these examples, rewired.
        x: clean inputs `[B, *shape]`.
        rows: their rows in `aims`, int64 `[B]`.
        within: the set.
        aims: labels and targets of the whole batch.
        manner: see `Manner`.
        steps: gradient steps.
        rng: CPU generator.
        start: points `[B, ...]`.
    """
    standing = Standing(model, x, aims.y[rows], within)
    random = within.sample(x, rng) if start is None else start
    point = within.project(x, within.start(x) if manner.still else random)
    best = torch.full((len(x),), -torch.inf, device=x.device)
    weight = torch.ones(len(x), device=x.device)
    fooled = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    momentum = torch.zeros_like(point)
    askings = when_asked(steps)
    for step in range(steps):
        if not len(standing):
            break
        here = standing.rows
        seen = _look(standing, within, aims, manner, rows[here], point, weight[here], rng)
        weight[here] = weight[here] * torch.where(seen.wrong >= 0.5, _RATE, 1 / _RATE)
        height, fell = seen.height, seen.share == 1
        if manner.random:  # one draw says little, and the best of many says less: only askings count
            height, fell = torch.full_like(height, -torch.inf), torch.zeros_like(fell)
            if step in askings:
                there = within.render(standing.x, point)
                height, fell = asked(standing.model, there, rows[here], aims)
        better = height > best[here]
        best[here] = torch.where(better, height, best[here])
        standing.propose(torch.where(_over(better, point), point, standing.points[here]))
        gradient = seen.gradient
        if bool(fell.any()):
            fooled[here[fell]] = True
            best[here[fell]] = height[fell].clamp_min(0)
            keep = standing.fell(fell, point)
            if keep is not None:
                point, gradient, momentum = point[keep], gradient[keep], momentum[keep]
                if not len(standing):
                    break
        size = gradient.flatten(1).abs().mean(dim=1).clamp_min(1e-30)
        momentum = _MOMENTUM * momentum + gradient / size.view(-1, *[1] * (gradient.dim() - 1))
        share_done = step / max(steps - 1, 1)
        length = _LAST + (_FIRST - _LAST) * (1 + math.cos(math.pi * share_done)) / 2
        point = within.ascend(standing.x, point, momentum, length)
    return Climbed(standing.points, fooled, best)


def when_asked(steps: int) -> set[int]:
    """The steps at which a random model is asked often, the last among them.

    >>> sorted(when_asked(60))
    [14, 29, 44, 59]
    """
    return {max(1, steps * turn // _ASKINGS) - 1 for turn in range(1, _ASKINGS + 1)}


def asked(model: Metered, x: Tensor, rows: Tensor, aims: Aims) -> tuple[Tensor, Tensor]:
    """Many draws of a random model's answer: mean height, and whether nearly all were wrong and none refused, `[B]`."""
    answers = [model.scored(x) for _ in range(ASKED)]
    height = torch.stack([aims.height(one, rows, deep=True) for one in answers]).mean(dim=0)
    return height, torch.stack([one.fooled(aims.y[rows]) for one in answers]).sum(dim=0) >= WRONG


def _over(rows: Tensor, like: Tensor) -> Tensor:
    return rows.view(-1, *[1] * (like.dim() - 1))


class _Seen(NamedTuple):
    """At the points of B examples: averaged gradient; mean height; shares of the draws that fooled, that were wrong."""

    gradient: Tensor
    height: Tensor
    share: Tensor
    wrong: Tensor


def _look(
    standing: Standing,
    within: PerturbationSet,
    aims: Aims,
    manner: Manner,
    rows: Tensor,
    point: Tensor,
    weight: Tensor,
    rng: Generator,
) -> _Seen:
    slopes = [
        draw(standing.model, standing.x, rows, within, aims, manner, point, rng, weight) for _ in range(manner.samples)
    ]
    if manner.smooth:  # those were neighbours: the point itself has not been asked about
        answers = [standing.model.scored(within.render(standing.x, point))]
    else:
        answers = [Scored(slope.logits, slope.suspicion) for slope in slopes]
    means = [
        torch.stack([part.float() for part in parts]).mean(dim=0)
        for parts in (
            [slope.gradient for slope in slopes],
            [aims.height(one, rows, deep=manner.random) for one in answers],
            [one.fooled(standing.y) for one in answers],
            [one.logits.argmax(dim=1) != standing.y for one in answers],
        )
    ]
    return _Seen(*means)


def draw(
    model: Metered,
    x: Tensor,
    rows: Tensor,
    within: PerturbationSet,
    aims: Aims,
    manner: Manner,
    point: Tensor,
    rng: Generator,
    weight: Tensor | None = None,
) -> Slope:
    """One gradient of the objective, at the point or at a neighbour; `weight` `[B]` is of a balanced objective."""
    at = point
    if manner.smooth:
        at = within.project(x, point + manner.smooth * (within.sample(x, rng) - within.start(x)))

    def slope(objective: Callable[[Scored], Tensor]) -> Slope:
        return model.slope(at, lambda z: z[:, 0], lambda p: within.render(x, p), joint=objective)

    if manner.objective.kind != "orthogonal":
        return slope(aims.climbed(manner.objective, rows, weight))
    gap, calm = aims.parts(rows)
    wrong, quiet = slope(gap), slope(calm)
    answered = _over(wrong.loss >= BEYOND, point)
    gradient = torch.where(answered, _without(quiet.gradient, wrong.gradient), _without(wrong.gradient, quiet.gradient))
    return wrong._replace(gradient=gradient)


def _without(one: Tensor, other: Tensor) -> Tensor:
    """The part of each row's gradient that is orthogonal to another."""
    along = (one * other).flatten(1).sum(dim=1) / other.flatten(1).square().sum(dim=1).clamp_min(1e-30)
    return one - _over(along, one) * other
