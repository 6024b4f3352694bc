"""One poisoned input, moved by the gradient of its influence (Koh and Liang 2017, sections 2.2 and 5.2).

The label stays.  Putting z' for z among N training points changes the loss at the target, at the label that is wanted,
by `-s . (grad L(z') - grad L(z)) / N` to first order, where s is the inverse Hessian's product with that loss's
gradient.  The row is taken whose input can gain most within its reach, to first order; then the input is moved by
signed steps along the gradient of `s . grad L(z')`, and the regression is fitted again on the moved point every few
steps.

Not covered: victims whose features move.  Where the whole network is trained from scratch, the features that the poison
was made for are only like the victim's; a single point among thousands then seldom decides anything.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from redoubt.attacks.poisoning.base import Poisoned, PoisoningAttack, Scene, Target, changed
from redoubt.attacks.poisoning.softmax import Head, fit_head
from redoubt.attacks.poisoning.surrogate import Surrogate

_PART = 512


@dataclass(frozen=True)
class InfluencePoint(PoisoningAttack):
    """A few training inputs, one by default, moved within their range.

    Attributes:
        points: how many rows are changed, as far as they may be.
        rounds: how often the regression is fitted again.
        steps: signed steps between.
        step: length of a step, as a share of how far an input may move (of the range, where that is all of it).
        l2: penalty of the regression; best as the victim's own.
    """

    points: int = 1
    rounds: int = 5
    steps: int = 20
    step: float = 0.04
    l2: float = 1e-3

    name: ClassVar[str] = "influence-point"
    flips: ClassVar[bool] = False
    aimless: ClassVar[bool] = False

    def poison(self, scene: Scene, target: Target | None, seed: int) -> Poisoned:
        if target is None:
            raise ValueError("it takes a target")
        surrogate, data = scene.surrogates[0], scene.data
        features = surrogate.look(data.x)
        head = fit_head(features, data.y, scene.classes, l2=self.l2)
        looked, wanted = surrogate.look(target.x.unsqueeze(0)), torch.tensor([target.wanted])
        solved = head.solve(head.slope(head.lift(looked), wanted))
        rows = self._rows(scene, head, solved)
        x, clean, y = data.x.clone(), data.x[rows], data.y[rows]
        low, high = scene.span
        length = self.step * (high - low if scene.radius is None else scene.radius)
        at, moved = clean, features.clone()
        best, least = clean, torch.inf
        for _ in range(self.rounds):
            for _ in range(self.steps):
                _, slope = _influence(surrogate, head, solved, at, y)
                at = scene.clamp(at + length * slope.sign(), clean)
            moved[rows] = surrogate.look(at)
            head = fit_head(moved, data.y, scene.classes, l2=self.l2, start=head)
            loss = float(torch.nn.functional.cross_entropy(head.lift(looked) @ head.weights.T, wanted))
            if loss < least:
                best, least = at, loss
            solved = head.solve(head.slope(head.lift(looked), wanted))
        x[rows] = best
        return changed(scene, x, data.y)

    def _rows(self, scene: Scene, head: Head, solved: Tensor) -> Tensor:
        """Those whose influence can be raised most: its gradient's product with the way to the reach's far corner."""
        data, gains = scene.data, []
        for at in torch.split(torch.arange(len(data)), _PART):
            clean = data.x[at]
            _, slope = _influence(scene.surrogates[0], head, solved, clean, data.y[at])
            low, high = scene.span
            corner = scene.clamp(torch.where(slope > 0, high, low).to(clean), clean)
            gains.append(((corner - clean) * slope).flatten(1).sum(dim=1))
        may = scene.may().gather(1, data.y[:, None])[:, 0]
        gain = torch.cat(gains).masked_fill(~may, -torch.inf)
        chosen = gain.argsort(descending=True, stable=True)[: min(self.points, scene.most)]
        chosen = chosen[gain[chosen].isfinite()]
        if not len(chosen):
            raise ValueError("there is no row that may be changed")
        return chosen


def _influence(surrogate: Surrogate, head: Head, solved: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """`s . grad L(z)` of B points, summed, and its gradient with respect to their inputs."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        phi = head.lift(surrogate.features(x))
        p = torch.softmax(phi @ head.weights.T, dim=1)
        error = p - torch.nn.functional.one_hot(y, len(head.weights))
        total = (error * (phi @ solved.T)).sum()
        (slope,) = torch.autograd.grad(total, x)
    return total.detach(), slope
