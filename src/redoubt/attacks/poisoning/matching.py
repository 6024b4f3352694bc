"""Gradient matching: poison that nobody sees and that is labelled rightly (Geiping et al. 2021, "Witches' Brew").

Training on the poison shall do what training on the target with the wanted label would do.  So inputs of the wanted
class are changed a little, until the gradient of the training loss over all of them points the way of the gradient of
the target's loss at the wanted label (equation 3 there), at weights that the adversary trained itself.

    steps:  signed Adam on the perturbation, projected into the box after each; the rate falls to a tenth at 3/8, 5/8
            and 7/8 of the way (appendix A there)
    rows:   those of the wanted class with the greatest gradient norms of the last layer, since what has learnt nothing
            yet moves a model most (Souri et al. 2022, "Sleeper Agent", section 3.3)

Not covered: training several surrogates anew while the poison is made, as `Sleeper Agent` does, and victims of another
kind than the surrogates.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from redoubt.attacks.poisoning.base import NothingToChangeError, PoisonedSet, PoisoningAttack, Scene, Target, changed
from redoubt.attacks.poisoning.surrogate import Surrogate

_FALLS = (3 / 8, 5 / 8, 7 / 8)


@dataclass(frozen=True)
class GradientMatching(PoisoningAttack):
    """Clean-label poison against one prediction.

    Attributes:
        steps: of each restart; the paper takes 250.
        restarts: from random perturbations, of which that of the best match is kept; the paper takes 8.
        step: first length of a step, as a share of the radius.
        shift: pixels by which poison is shifted at random in each step, along both axes, for victims that augment their
            data so; 0 for none.
    """

    steps: int = 250
    restarts: int = 2
    step: float = 0.1
    shift: int = 0

    name: ClassVar[str] = "gradient-matching"
    flips: ClassVar[bool] = False
    aimless: ClassVar[bool] = False

    def poison(self, scene: Scene, target: Target | None, seed: int) -> PoisonedSet:
        if target is None:
            raise ValueError("it takes a target")
        rng, data = Generator().manual_seed(seed), scene.data
        rows = _rows(scene, target)
        clean, y = data.x[rows], data.y[rows]
        aims = [_aim(surrogate, target) for surrogate in scene.surrogates]
        best, least = clean, torch.inf
        for _ in range(max(1, self.restarts)):
            found, loss = self._brew(scene, aims, clean, y, rng)
            if loss < least:
                best, least = found, loss
        x = data.x.clone()
        x[rows] = best
        return changed(scene, x, data.y)

    def _brew(self, scene: Scene, aims: list[Tensor], clean: Tensor, y: Tensor, rng: Generator) -> tuple[Tensor, float]:
        """One restart: the best inputs on its way, and how far they are from matching."""
        low, high = scene.span
        reach = high - low if scene.radius is None else scene.radius
        start = clean + reach * (2 * torch.rand(clean.shape, generator=rng) - 1)
        point = scene.clamp(start, clean).requires_grad_(True)
        optimizer = torch.optim.Adam([point], lr=self.step * reach)
        falls = [int(fall * self.steps) for fall in _FALLS]
        best, least = point.detach().clone(), torch.inf
        for step in range(self.steps):
            with torch.enable_grad():
                loss = _mismatch(scene.surrogates, aims, self._moved(point, rng), y)
                (slope,) = torch.autograd.grad(loss, point)
            if loss.item() < least:
                best, least = point.detach().clone(), loss.item()
            point.grad = slope.sign()
            for group in optimizer.param_groups:
                group["lr"] = self.step * reach * 0.1 ** sum(step >= fall for fall in falls)
            optimizer.step()
            with torch.no_grad():
                point.copy_(scene.clamp(point, clean))
        return best, least

    def _moved(self, x: Tensor, rng: Generator) -> Tensor:
        """Shifted as a victim that augments its data would."""
        if not self.shift or x.dim() != 4:
            return x
        down, right = torch.randint(-self.shift, self.shift + 1, (2,), generator=rng).tolist()
        return torch.roll(x, (down, right), dims=(2, 3))


def _rows(scene: Scene, target: Target) -> Tensor:
    """Rows of the wanted class, of the greatest gradient norms, as many as are allowed."""
    data, surrogate = scene.data, scene.surrogates[0]
    may = scene.may().gather(1, data.y[:, None])[:, 0]
    rows = (may & (data.y == target.wanted)).nonzero().squeeze(1)
    if not len(rows):
        raise NothingToChangeError("there is no row of the wanted class that may be changed")
    error = torch.softmax(surrogate.scores(data.x[rows]), dim=1) - F.one_hot(data.y[rows], scene.classes)
    return rows[error.norm(dim=1).argsort(descending=True, stable=True)[: scene.most]]


def _aim(surrogate: Surrogate, target: Target) -> Tensor:
    """The gradient that training on the target with the wanted label would follow, of length 1, `[P]`."""
    with torch.enable_grad():
        loss = F.cross_entropy(surrogate.logits(target.x.unsqueeze(0)), torch.tensor([target.wanted]))
        aim = _flat(torch.autograd.grad(loss, surrogate.parameters()))
    unit: Tensor = aim / aim.norm().clamp_min(1e-12)
    return unit


def _mismatch(surrogates: tuple[Surrogate, ...], aims: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """One less the cosine between the gradients, the mean over surrogates; differentiable in x."""
    total: Tensor = torch.zeros(())
    for surrogate, aim in zip(surrogates, aims, strict=True):
        loss = F.cross_entropy(surrogate.logits(x), y, reduction="sum")
        mine = _flat(torch.autograd.grad(loss, surrogate.parameters(), create_graph=True))
        total = total + 1 - (mine @ aim) / mine.norm().clamp_min(1e-12)
    mean: Tensor = total / len(aims)
    return mean


def _flat(gradients: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])
