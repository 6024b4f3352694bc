"""One move for all inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.losses import cross_entropy, wrong_log_probability
from redoubt.attacks.evasion.momentum import blended
from redoubt.attacks.evasion.standing import affordable
from redoubt.models.meter import Metered, Slope
from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.norms import NormBall
from redoubt.records import Access, Budget

_Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

_FIRST_STEP, _LAST_STEP = 0.3, 0.02  # shares of the radius


@dataclass(frozen=True)
class Universal(EvasionAttack):
    """A universal perturbation: the same move for every input of the batch (Moosavi-Dezfooli et al. 2017).

    Two climbs of a mean over the batch, each with half of the steps: of the log-probability of a wrong answer, which
    does not rise any more for inputs that are fooled already, so that the others come next; and of the cross-entropy,
    which goes where many fall when no move fools all.  In a norm ball the move is added to every input and clipped to
    the range; in other sets all inputs have the same point: one patch, or one angle and shift.

    The batch is the inputs that still stand when its turn comes, in parts of a task's size; so a policy that wants the
    figure of universal moves names this strategy alone.  Does not find the best move of each input.

    Attributes:
        steps: gradient steps, 2 passes of each input.
        target: the class that all are to be answered as; any wrong one when None.
    """

    steps: int = 100
    target: int | None = None
    name: ClassVar[str] = "universal"
    needs: ClassVar[Access] = Access.GRADIENTS
    averages: ClassVar[bool] = True

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        return moved(x, within, self.find(model, x, y, within, budget, rng))

    def find(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        """The one move, `[1, ...]`, which `moved` applies to these inputs or to others; arguments as in `run`."""
        space, origin = (within.moves(), torch.zeros_like(x[:1])) if isinstance(within, NormBall) else (within, x[:1])
        best = space.sample(origin, rng)
        most = -1
        steps = affordable(budget, self.steps, cost=2)
        for loss, share in ((wrong_log_probability, steps - steps // 2), (cross_entropy, steps // 2)):
            move = space.sample(origin, rng)
            momentum: Tensor | None = None
            for step in range(share):
                slope = self._slope(model, x, y, within, move, loss, rng)
                aimed = self.target is None or slope.logits.argmax(dim=1) == self.target
                hits = int((slope.fooled(y) & aimed).sum())
                if hits > most:
                    best, most = move, hits
                momentum = blended(momentum, slope.gradient.mean(dim=0, keepdim=True))
                length = _FIRST_STEP + (_LAST_STEP - _FIRST_STEP) * step / share
                move = space.ascend(origin, move, momentum, length)
        return best

    def _slope(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, move: Tensor, loss: _Loss, rng: Generator
    ) -> Slope:
        def objective(logits: Tensor) -> Tensor:
            if self.target is None:
                return loss(logits, y)
            return -cross_entropy(logits, torch.full_like(y, self.target))

        same = move.repeat(len(x), *[1] * (move.dim() - 1))
        return model.slope(same, objective, lambda each: within.draw(x, _applied(x, within, each), rng))


def moved(x: Tensor, within: PerturbationSet, move: Tensor) -> Tensor:
    """The points `[B, ...]` of inputs `[B, *shape]` that all make the same move `[1, ...]`."""
    return within.project(x, _applied(x, within, move.repeat(len(x), *[1] * (move.dim() - 1))))


def _applied(x: Tensor, within: PerturbationSet, moves: Tensor) -> Tensor:
    return (x + moves).clamp(within.low, within.high) if isinstance(within, NormBall) else moves
