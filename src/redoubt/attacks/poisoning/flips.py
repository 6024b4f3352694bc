"""Wrong labels: random ones, and those that influence functions choose.

Not covered: flips chosen by training again for each (the bilevel problem of Biggio et al. 2012, and what follows it);
here all flips are chosen at once, by the first-order effect of each on its own.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.poisoning.base import NothingToChangeError, PoisonedSet, PoisoningAttack, Scene, Target, changed
from redoubt.attacks.poisoning.softmax import fit_head


@dataclass(frozen=True)
class RandomFlips(PoisoningAttack):
    """Rows drawn at random get a wrong label: any other, or the one that is wanted of the target."""

    name: ClassVar[str] = "random-flips"
    flips: ClassVar[bool] = True
    aimless: ClassVar[bool] = True

    def poison(self, scene: Scene, target: Target | None, seed: int) -> PoisonedSet:
        rng, y = Generator().manual_seed(seed), scene.data.y
        may = scene.may() & ~_own(y, scene.classes)
        if target is not None:
            may &= torch.arange(scene.classes) == target.wanted
        rows = _some(may.any(dim=1).nonzero().squeeze(1), scene.most, rng)
        drawn = torch.rand(len(rows), scene.classes, generator=rng).masked_fill(~may[rows], -1)
        return _relabelled(scene, rows, drawn.argmax(dim=1))


@dataclass(frozen=True)
class ChosenFlips(PoisoningAttack):
    """The flips that move a model most, by influence functions over its last layer's features.

    Giving row i, whose label is y, the label c changes the gradient of the training loss by `(e_y - e_c) phi_i / N`,
    and the optimum by minus the inverse Hessian's product with that; so the loss of the target at the label that is
    wanted falls by `(S_y - S_c) . phi_i / N` to first order, where S is the inverse Hessian's product with that loss's
    gradient (Koh and Liang 2017, section 2.2).  With no target, the loss on a part of the data that the regression was
    not fitted on is raised instead.

    Attributes:
        l2: penalty of the regression.
        held: without a target, the share of the data on which the loss is raised.
    """

    l2: float = 1e-3
    held: float = 0.2

    name: ClassVar[str] = "chosen-flips"
    flips: ClassVar[bool] = True
    aimless: ClassVar[bool] = True

    def poison(self, scene: Scene, target: Target | None, seed: int) -> PoisonedSet:
        y, surrogate = scene.data.y, scene.surrogates[0]
        features = surrogate.look(scene.data.x)
        order = torch.randperm(len(y), generator=Generator().manual_seed(seed))
        count = int(self.held * len(y)) if target is None else 0
        held, rows = order[:count], order[count:].sort().values
        head = fit_head(features[rows], y[rows], scene.classes, l2=self.l2)
        if target is None:
            solved = -head.solve(head.slope(head.lift(features[held]), y[held]))
        else:
            phi = head.lift(surrogate.look(target.x.unsqueeze(0)))
            solved = head.solve(head.slope(phi, torch.tensor([target.wanted])))
        pull = head.phi @ solved.T  # S_c . phi_i
        gain = pull.gather(1, y[rows][:, None]) - pull
        gain = gain.masked_fill(~scene.may()[rows] | _own(y[rows], scene.classes), -torch.inf)
        best, label = gain.max(dim=1)
        chosen = best.argsort(descending=True, stable=True)[: scene.most]
        chosen = chosen[best[chosen] > 0]
        if not len(chosen):
            raise NothingToChangeError("no flip that is allowed helps")
        return _relabelled(scene, rows[chosen], label[chosen])


def _own(y: Tensor, classes: int) -> Tensor:
    """Bool `[N, K]`: the label that each row has."""
    return y[:, None] == torch.arange(classes)


def _some(rows: Tensor, most: int, rng: Generator) -> Tensor:
    if not len(rows):
        raise NothingToChangeError("there is no row whose label may be changed")
    return rows[torch.randperm(len(rows), generator=rng)[:most]]


def _relabelled(scene: Scene, rows: Tensor, labels: Tensor) -> PoisonedSet:
    y = scene.data.y.clone()
    y[rows] = labels
    return changed(scene, scene.data.x, y)
