"""The climb that every candidate of the search is played with: momentum, falling steps, averaged gradients."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.adaptive.objectives import BEYOND, Aims, Objective
from redoubt.attacks.evasion.standing import Standing
from redoubt.models.base import Scored
from redoubt.models.meter import Metered, Slope
from redoubt.perturb.base import PerturbationSet

_MOMENTUM = 0.75
_FIRST, _LAST = 0.5, 0.02  # length of the first and the last step, as a share of the radius
ASKED = 8  # draws by which a point that fooled a random model once shows that it mostly does


@dataclass(frozen=True)
class Manner:
    """How gradients are taken.

    Attributes:
        objective: what is climbed.
        samples: gradients averaged in a step.
        smooth: how far around the point they are taken, as a share of a random move of the set; 0 is at the point.
        random: whether the model draws at random, so that one answer says little.
    """

    objective: Objective
    samples: int = 1
    smooth: float = 0.0
    random: bool = False

    def cost(self, steps: int) -> int:
        """Passes of one climb, at most."""
        slopes = self.samples * (2 if self.objective.kind == "orthogonal" else 1)
        return steps * 2 * slopes + steps * (self.smooth > 0) + (ASKED * 4 if self.random else 0)


@dataclass
class Climbed:
    """Where a climb of B examples ended.

    Attributes:
        points: the best of each, `[B, ...]`.
        fooled: bool `[B]`: the model's own answer was wrong, and mostly so where it is random.
        shortfall: of the best points, `[B]`: 0 for who is fooled.
    """

    points: Tensor
    fooled: Tensor
    shortfall: Tensor


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
    """Climb from random points of the set, or from `start`.

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
    point = within.sample(x, rng) if start is None else within.project(x, start)
    best = torch.full((len(x),), -torch.inf, device=x.device)
    fooled = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    momentum = torch.zeros_like(point)
    asked = 0
    for step in range(steps):
        if not len(standing):
            break
        here = standing.rows
        gradient, lacking, share = _look(standing, within, aims, manner, rows[here], point, rng)
        better = lacking > best[here]
        best[here] = torch.where(better, lacking, best[here])
        standing.propose(torch.where(_over(better, point), point, standing.points[here]))
        fell = share == 1
        if manner.random and bool((share >= 0.75).any()):
            fell = torch.zeros_like(fell)
            if asked < 4:  # the budget sets that many askings aside
                asked += 1
                maybe = (share >= 0.75).nonzero().squeeze(1)
                there = within.render(standing.x[maybe], point[maybe])
                fell[maybe] = mostly_fooled(standing.model.only(maybe), there, standing.y[maybe])
        if bool(fell.any()):
            fooled[here[fell]] = True
            best[here[fell]] = 0.0
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


def mostly_fooled(model: Metered, x: Tensor, y: Tensor) -> Tensor:
    """Bool `[B]`: all but one of a few draws were answered, and wrongly."""
    return torch.stack([model.scored(x).fooled(y) for _ in range(ASKED)]).sum(dim=0) >= ASKED - 1


def _over(rows: Tensor, like: Tensor) -> Tensor:
    return rows.view(-1, *[1] * (like.dim() - 1))


def _look(
    standing: Standing, within: PerturbationSet, aims: Aims, manner: Manner, rows: Tensor, point: Tensor, rng: Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Averaged gradient, mean shortfall, and share of the draws that fooled, at the point itself."""
    total, lacking, share = torch.zeros_like(point), point.new_zeros(len(point)), point.new_zeros(len(point))
    for _ in range(manner.samples):
        slope = draw(standing.model, standing.x, rows, within, aims, manner, point, rng)
        total = total + slope.gradient
        scored = Scored(slope.logits, slope.suspicion)
        lacking = lacking + aims.shortfall(scored, rows) / manner.samples
        share = share + slope.fooled(standing.y).float() / manner.samples
    if manner.smooth:  # those were neighbours: the point itself has not been asked about
        scored = standing.model.scored(within.render(standing.x, point))
        lacking, share = aims.shortfall(scored, rows), scored.fooled(standing.y).float()
    return total, lacking.float(), torch.where(share > 0.999, 1.0, share)


def draw(
    model: Metered,
    x: Tensor,
    rows: Tensor,
    within: PerturbationSet,
    aims: Aims,
    manner: Manner,
    point: Tensor,
    rng: Generator,
) -> Slope:
    """One gradient of the objective, at the point or at a neighbour; arguments as of `climb`."""
    at = point
    if manner.smooth:
        at = within.project(x, point + manner.smooth * (within.sample(x, rng) - within.start(x)))

    def slope(objective: Callable[[Scored], Tensor]) -> Slope:
        return model.slope(at, lambda z: z[:, 0], lambda p: within.render(x, p), joint=objective)

    if manner.objective.kind != "orthogonal":
        return slope(aims.climbed(manner.objective, rows))
    gap, calm = aims.parts(rows)
    wrong, quiet = slope(gap), slope(calm)
    answered = _over(wrong.loss >= BEYOND, point)
    gradient = torch.where(answered, _without(quiet.gradient, wrong.gradient), _without(wrong.gradient, quiet.gradient))
    return wrong._replace(gradient=gradient)


def _without(one: Tensor, other: Tensor) -> Tensor:
    """The part of each row's gradient that is orthogonal to another."""
    along = (one * other).flatten(1).sum(dim=1) / other.flatten(1).square().sum(dim=1).clamp_min(1e-30)
    return one - _over(along, one) * other
