"""What makes one doubt a model's gradients and answers before anything is played."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from redoubt.assess.system import System, repeatable, unstable
from redoubt.attacks.evasion.losses import dlr
from redoubt.models import Differentiable
from redoubt.models.gradients import gradient_of
from redoubt.perturb import L0Ball, L2Ball, NormBall, PerturbationSet

MISLED_SHARE = 0.10  # of a few examples, where steps along the gradient seldom raise the loss
_EXAMPLES, _TRIES, _STEP = 100, 8, 0.1
_RISES = 5  # of the tries; a step along a true gradient rises nearly always, along a wrong one half the time


@dataclass(frozen=True)
class Doubts:
    """What was seen.

    Attributes:
        unstable: share of examples whose answers differ between two identical queries.
        misled: share of examples where a short step along the gradient seldom raises the loss; None if gradients are
            out of the adversary's reach, or the set is no norm ball.
        out_of_reach: why gradients could not be had though the adversary has the weights; None if they could, or
            if the set is covered without.
        refuses: whether the model has a detector.
    """

    unstable: float
    misled: float | None
    out_of_reach: str | None
    refuses: bool = False

    @property
    def blind(self) -> bool:
        """Whether attacks by gradients as they are, that know of no detector, are not to be believed."""
        return self.unstable > 0 or self.refuses or (self.misled or 0.0) >= MISLED_SHARE


def doubts_of(system: System, within: PerturbationSet, rows: list[int], gradients: bool) -> Doubts:
    """Look at a system's answers and gradients.

    Args:
        system: model and data.
        within: the requirement's set; its norm balls are looked at.
        rows: examples that are answered rightly.
        gradients: whether the adversary has the weights.
    """
    balls = [_smooth(member) for member in within.members if isinstance(member, NormBall)]
    model = system.model
    misled: float | None = None
    out_of_reach: str | None = None
    if gradients and balls and not isinstance(model, Differentiable):
        why = getattr(model, "why_not_differentiable", "")
        out_of_reach = why or f"a {type(model).__name__} only answers queries"
    elif gradients and balls and rows and isinstance(model, Differentiable):
        some = torch.tensor(rows[:: max(1, len(rows) // _EXAMPLES)][:_EXAMPLES])
        x, y = system.data.x[some].to(system.device), system.data.y[some].to(system.device)
        with repeatable(0):
            misled = max(misled_share(model, x, y, ball, Generator().manual_seed(0)) for ball in balls)
    refuses = False
    if isinstance(model, Differentiable) and gradients:
        with torch.no_grad(), repeatable(0):
            refuses = model.scored(system.data.x[:2].to(system.device)).suspicion is not None
    return Doubts(unstable(system), misled, out_of_reach, refuses)


def _smooth(ball: NormBall) -> NormBall:
    """The ball, or the least L2 ball around one of L0: a step that swaps whole pixels tells nothing of a gradient."""
    if not isinstance(ball, L0Ball):
        return ball
    return L2Ball(math.sqrt(ball.radius) * (ball.high - ball.low), ball.low, ball.high)


def misled_share(model: Differentiable, x: Tensor, y: Tensor, ball: NormBall, rng: Generator) -> float:
    """Share of examples where a step of a tenth of the radius along the gradient seldom raises the loss.

    From random points of the ball, so that it tests the gradient where attacks use it.  The loss is DLR, which does not
    saturate.  Wrong gradients pass other checks: they neither vanish nor stop the loss from rising by chance.

    Args:
        model: the model.
        x: inputs `[B, *shape]`.
        y: labels `[B]`.
        ball: the set.
        rng: CPU generator.
    """
    rises = torch.zeros(len(x))
    for _ in range(_TRIES):
        point = ball.sample(x, rng).requires_grad_()
        before = dlr(model.logits(point), y)
        gradient = gradient_of(before.sum(), point)
        with torch.no_grad():
            after = dlr(model.logits(ball.ascend(x, point.detach(), gradient.nan_to_num(), _STEP)), y)
        rises += (after > before).cpu()
    return float((rises <= _RISES).float().mean())
