"""Trigger inversion: for each class, the smallest trigger of a family that sends all inputs there."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from redoubt.attacks.backdoor.invert.forms import Form, Parameters
from redoubt.attacks.backdoor.triggers import Trigger
from redoubt.models.base import Differentiable


@dataclass(frozen=True)
class Search:
    """How long is searched, and when a trigger counts as one.

    Attributes:
        steps: of Adam.
        rate: its learning rate.
        batch: inputs that each step sees, for every target.
        success: share of the inputs that must go to the target before a trigger counts, and before it is made smaller.
        patience: steps in a row above or below it before the weight of the cost changes.
        factor: by which it grows; it falls by this to the power 1.5 (Wang et al. 2019, the authors' code).
    """

    steps: int = 300
    rate: float = 0.1
    batch: int = 32
    success: float = 0.95
    patience: int = 5
    factor: float = 1.5


@dataclass(frozen=True)
class Inverted:
    """The best trigger found for one target class.

    Attributes:
        target: the class.
        trigger: what sends inputs there.
        size: in the unit of its family; infinite where none was found that succeeds.
        success: share of the inputs, as the search saw them, that went there: not held out, so no measure of anything.
    """

    target: int
    trigger: Trigger
    size: float
    success: float


def invert(
    model: Differentiable, x: Tensor, form: Form, targets: Sequence[int], search: Search, rng: Generator
) -> list[Inverted]:
    """Search all targets side by side.

    The cost's weight is tuned for each target by itself: it grows while the trigger succeeds, and falls while it does
    not, so the last triggers that succeed are about as small as they get.

    Args:
        model: the suspect.
        x: clean inputs `[N, C, H, W]` of all classes; those of the target itself go there anyway.
        form: the family.
        targets: T classes.
        search: how long.
        rng: where it starts, and which inputs each step sees.

    Returns:
        One for each target, in their order.
    """
    face, count = model.face, len(targets)
    at = tuple(start.requires_grad_(True) for start in form.start(face, count, rng))
    optimizer = torch.optim.Adam(at, lr=search.rate, betas=(0.5, 0.9))
    wanted = torch.tensor(targets)
    weight = torch.full((count,), form.weight)
    above, below = torch.zeros(count), torch.zeros(count)
    best = [(float("inf"), 0.0)] * count
    kept: Parameters = tuple(part.detach().clone() for part in at)
    for _ in range(search.steps):
        rows = torch.randint(len(x), (min(search.batch, len(x)),), generator=rng)
        worn = form.worn(face, x[rows], at)
        logits = model.logits(worn.flatten(0, 1)).view(count, len(rows), -1)
        gone = (logits.argmax(dim=2) == wanted[:, None]).float().mean(dim=1).detach()
        lost = F.cross_entropy(logits.flatten(0, 1), wanted.repeat_interleave(len(rows)), reduction="none")
        size = form.size(face, at).detach()
        for which in range(count):
            now = (float(size[which]), float(gone[which]))
            # While nothing succeeds, the one that comes nearest is kept, so that its success can be told.
            none_yet = best[which][0] == float("inf")
            if now[1] >= search.success and now[0] < best[which][0]:
                best[which] = now
            elif none_yet and now[1] > best[which][1]:
                best[which] = (float("inf"), now[1])
            else:
                continue
            for old, new in zip(kept, at, strict=True):
                old[which] = new.detach()[which]
        loss = (lost.view(count, -1).mean(dim=1) + weight * form.cost(face, at)).sum()
        for part, slope in zip(at, torch.autograd.grad(loss, at), strict=True):
            part.grad = slope
        optimizer.step()
        good = gone >= search.success
        above, below = torch.where(good, above + 1, 0), torch.where(good, 0, below + 1)
        weight = torch.where(above >= search.patience, weight * search.factor, weight)
        weight = torch.where(below >= search.patience, weight / search.factor**1.5, weight)
        above, below = above.where(above < search.patience, 0), below.where(below < search.patience, 0)
    return [
        Inverted(int(target), form.trigger(face, kept, which), *best[which]) for which, target in enumerate(targets)
    ]


def anomaly_indices(sizes: Sequence[float]) -> list[float]:
    """How far each size lies below the median, in robust deviations (Wang et al. 2019, section IV-A).

    (median - size) / (1.4826 median absolute deviation): above 2, a class is easier to reach than the others are, at
    about 95 % if sizes were normal, which those of few classes are not.  Where no trigger was found, the size counts
    as the greatest that was; 0 everywhere if none was found at all, or if all are alike.

    >>> [round(index, 2) for index in anomaly_indices([50.0, 52.0, 48.0, 5.0, 55.0])]
    [0.0, -0.67, 0.67, 15.18, -1.69]
    """
    known = [size for size in sizes if size != float("inf")]
    if not known:
        return [0.0] * len(sizes)
    values = torch.tensor([min(size, max(known)) for size in sizes], dtype=torch.float64)
    middle = values.quantile(0.5)
    spread = 1.4826 * (values - middle).abs().quantile(0.5)
    if spread == 0:
        return [0.0] * len(sizes)
    return [float(index) for index in (middle - values) / spread]
