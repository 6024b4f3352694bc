"""One poisoned input, moved by the gradient of its influence (Koh and Liang 2017, sections 2.2 and 5.2).

The label stays.  Putting z' for z among N training points changes the loss at the target, at the label that is wanted,
by `-s . (grad L(z') - grad L(z)) / N` to first order, where s is the inverse Hessian's product with that loss's
gradient.  Those rows are taken whose inputs can gain most so, along signed steps through their reach.

Of the regression fitted on the moved points, the gradient of `s . grad L(z')` with respect to z' is that of the
target's loss itself; of one fitted before they moved it is not, and several points that follow the same stale gradient
overshoot together.  So the regression is fitted again after each signed step, and a step after which the loss is no
lower is taken back and halved.

Not covered: victims whose features move.  Where the whole network is trained from scratch, the features that the poison
was made for are only like the victim's; a single point among thousands then seldom decides anything.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from redoubt.attacks.poisoning.base import NothingToChangeError, PoisonedSet, PoisoningAttack, Scene, Target, changed
from redoubt.attacks.poisoning.softmax import Head, fit_head
from redoubt.attacks.poisoning.surrogate import Surrogate

_PART = 512
_WAY = 8  # steps through the reach, by which rows are chosen
_ROUGHLY, _SETTLED = 1e-2, 1e-5  # how exact solves and fits are of which the next one goes on


@dataclass(frozen=True)
class InfluencePoint(PoisoningAttack):
    """A few training inputs, one by default, moved within their range.

    Attributes:
        points: how many rows are changed, as far as they may be.
        rounds: signed steps, with a fit after each; the paper takes 100.
        step: first length of a step, as a share of how far an input may move (of the range, where that is all of it).
        l2: penalty of the regression; best as the victim's own.
    """

    points: int = 1
    rounds: int = 40
    step: float = 0.1
    l2: float = 1e-3

    name: ClassVar[str] = "influence-point"
    flips: ClassVar[bool] = False
    aimless: ClassVar[bool] = False

    def poison(self, scene: Scene, target: Target | None, seed: int) -> PoisonedSet:
        if target is None:
            raise ValueError("it takes a target")
        surrogate, data = scene.surrogates[0], scene.data
        moved = surrogate.look(data.x)
        head = fit_head(moved, data.y, scene.classes, l2=self.l2)
        asked, wanted = head.lift(surrogate.look(target.x.unsqueeze(0))), torch.tensor([target.wanted])
        solved = head.solve(head.slope(asked, wanted), _ROUGHLY)
        rows = self._rows(scene, head, solved)
        clean, y, length = data.x[rows], data.y[rows], self.step * _reach(scene)
        best, least = clean, _loss(head, asked, wanted)
        for _ in range(self.rounds):
            _, slope = _influence(surrogate, head, solved, best, y)
            at = scene.clamp(best + length * slope.sign(), clean)
            moved[rows] = surrogate.look(at)
            then = fit_head(moved, data.y, scene.classes, l2=self.l2, start=head, settled=_SETTLED)
            loss = _loss(then, asked, wanted)
            if loss < least:
                best, least, head = at, loss, then
                solved = head.solve(head.slope(asked, wanted), _ROUGHLY)
            else:
                length /= 2
        x = data.x.clone()
        x[rows] = best
        return changed(scene, x, data.y)

    def _rows(self, scene: Scene, head: Head, solved: Tensor) -> Tensor:
        """Those whose influence can be raised most, along signed steps that lead through the reach."""
        data, gains = scene.data, []
        for at in torch.split(torch.arange(len(data)), _PART):
            clean, y = data.x[at], data.y[at]
            start, slope = _influence(scene.surrogates[0], head, solved, clean, y)
            point, most = clean, start
            for _ in range(_WAY):
                point = scene.clamp(point + _reach(scene) / _WAY * slope.sign(), clean)
                value, slope = _influence(scene.surrogates[0], head, solved, point, y)
                most = torch.maximum(most, value)
            gains.append(most - start)
        may = scene.may().gather(1, data.y[:, None])[:, 0]
        gain = torch.cat(gains).masked_fill(~may, -torch.inf)
        chosen = gain.argsort(descending=True, stable=True)[: min(self.points, scene.most)]
        chosen = chosen[gain[chosen].isfinite()]
        if not len(chosen):
            raise NothingToChangeError("there is no row that may be changed")
        return chosen


def _reach(scene: Scene) -> float:
    """How far each value of an input may be moved."""
    low, high = scene.span
    return high - low if scene.radius is None else scene.radius


def _loss(head: Head, asked: Tensor, wanted: Tensor) -> float:
    """Of the lifted target, at the label that is wanted."""
    return float(F.cross_entropy(asked @ head.weights.T, wanted))


def _influence(surrogate: Surrogate, head: Head, solved: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """`s . grad L(z)` of each of B points, `[B]`, and its gradients with respect to their inputs."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        phi = head.lift(surrogate.features(x))
        p = torch.softmax(phi @ head.weights.T, dim=1)
        each = ((p - F.one_hot(y, len(head.weights))) * (phi @ solved.T)).sum(dim=1)
        (slope,) = torch.autograd.grad(each.sum(), x)
    return each.detach(), slope
