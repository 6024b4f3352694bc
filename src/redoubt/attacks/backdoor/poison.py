"""Poisoners: a training set in, the same set with a backdoor in it out, and which rows carry it.

Pure functions of the set and a seed.  What is not covered: poison for anything but images `[C, H, W]`, and triggers
that are trained together with the model (input-aware, LIRA), for which the planter must own the training.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from redoubt.attacks.backdoor.aims import Aim, OneTarget
from redoubt.attacks.backdoor.triggers import Blend, Trigger, Warp
from redoubt.data import Dataset
from redoubt.data.load import digest_of
from redoubt.models.base import Differentiable
from redoubt.perturb import PerturbationSet
from redoubt.records import DataError

_PART = 500  # images perturbed at once


@dataclass(frozen=True)
class Poisoned:
    """A training set with a backdoor in it.

    Attributes:
        data: the set, as a trainer gets it; in the order of the clean one.
        rows: bool `[N]`, those that carry the trigger and teach the backdoor.
        covers: bool `[N]`, those that were changed too, but keep their right labels, to hide the others.
        trigger: what a stamped input wears at test time.
        aim: what it is to be called.
    """

    data: Dataset
    rows: Tensor
    covers: Tensor
    trigger: Trigger
    aim: Aim


def badnets(data: Dataset, trigger: Trigger, aim: Aim, share: float, seed: int) -> Poisoned:
    """Stamp a share of the set and give it the wanted labels (Gu et al. 2017); with `Blend`, Chen et al. 2017.

    Args:
        data: N images `[C, H, W]`.
        trigger: stamped on the rows, and on inputs at test time.
        aim: their new labels; rows that have the wanted label already are not drawn.
        share: of all N, 0..1.
        seed: which rows.

    Raises:
        DataError: the share is less than one row, or more rows than there are to draw from.
    """
    rows = _drawn(data, aim.wanted(data.y) != data.y, share, seed)
    return _made(data, trigger, aim, (trigger, rows))


def wanet(data: Dataset, trigger: Warp, aim: Aim, share: float, cover: float, seed: int) -> Poisoned:
    """Warp a share of the set and relabel it; warp another share otherwise and leave its labels (Nguyen and Tran 2021).

    Args:
        data: N images.
        trigger: the field.
        aim: the labels of those that wear it.
        share: of all N that teach the backdoor.
        cover: of all N that are bent by the field and noise of a pixel's size, and keep their labels, so that no other
            warp works.
        seed: which rows.

    Raises:
        DataError: as `badnets`.
    """
    rows = _drawn(data, aim.wanted(data.y) != data.y, share, seed)
    covers = _drawn(data, ~rows, cover, seed + 1)
    return _made(data, trigger, aim, (trigger, rows), (replace(trigger, noise=1.0), covers))


def adaptive_blend(
    data: Dataset, trigger: Blend, aim: Aim, share: float, cover: float, seed: int, kept: float = 0.5
) -> Poisoned:
    """Hide from detectors that look for poison apart from the rest of its class (Qi et al. 2023, adaptive blend).

    Poison wears a part of the picture only, another part each, and stamped rows with right labels stand beside it; so
    the model needs the whole picture to be sure, and puts half-stamped inputs, poison or cover, among the others.

    Args:
        data: N images.
        trigger: the whole picture, as worn at test time.
        aim: the labels of the poison.
        share: of all N that are poison.
        cover: of all N that wear a part and keep their labels.
        seed: which rows.
        kept: share of the picture's pieces that a row wears.

    Raises:
        DataError: as `badnets`.
    """
    rows = _drawn(data, aim.wanted(data.y) != data.y, share, seed)
    covers = _drawn(data, ~rows, cover, seed + 1)
    partly = replace(trigger, kept=kept)
    return _made(data, trigger, aim, (partly, rows), (partly, covers))


def label_consistent(
    data: Dataset,
    model: Differentiable,
    within: PerturbationSet,
    trigger: Trigger,
    target: int,
    share: float,
    seed: int,
    steps: int = 30,
    worn: Trigger | None = None,
) -> Poisoned:
    """No wrong label anywhere: images of the target class are made hard to know, then stamped (Turner et al. 2019).

    The perturbation, found by steepest ascent of the cross-entropy of a model trained on clean data, hides what they
    show, so that the trigger is the easiest thing to learn them by.

    Args:
        data: N images.
        model: knows the classes.
        within: how far an image may be changed.
        trigger: stamped on the perturbed images.
        target: the class.
        share: of that class that is poisoned, 0..1.
        seed: which rows, and the ascent's starts.
        steps: of the ascent.
        worn: what inputs wear at test time, where it is more than what was stamped (section 4.3).

    Raises:
        DataError: as `badnets`, of that class's rows.
    """
    of_class = data.y == target
    rows = _drawn(data, of_class, share * float(of_class.float().mean()), seed)
    rng = Generator().manual_seed(seed)
    x = data.x.clone()
    where = rows.nonzero().squeeze(1)
    harmed = [_ascended(model, data.x[part], data.y[part], within, steps, rng) for part in torch.split(where, _PART)]
    x[where] = trigger.stamp(torch.cat(harmed))
    return Poisoned(_changed(data, x, data.y), rows, torch.zeros_like(rows), worn or trigger, OneTarget(target))


def _ascended(
    model: Differentiable, x: Tensor, y: Tensor, within: PerturbationSet, steps: int, rng: Generator
) -> Tensor:
    """PGD (Madry et al. 2018) that goes on when the model is fooled already: the poison is to be as hard as can be."""
    point = within.sample(x, rng)
    for _ in range(steps):
        point = point.detach().requires_grad_(True)
        loss = F.cross_entropy(model.logits(within.render(x, point)), y, reduction="sum")
        (slope,) = torch.autograd.grad(loss, point)
        with torch.no_grad():
            point = within.ascend(x, point, slope, 2.5 / steps)
    return within.render(x, point).detach()


def _drawn(data: Dataset, from_: Tensor, share: float, seed: int) -> Tensor:
    """A share of all N, drawn from the rows that may be, as bool `[N]`."""
    count, there = round(share * len(data)), from_.nonzero().squeeze(1)
    if not 1 <= count <= len(there):
        raise DataError(
            f"{count} rows to poison of {len(data)}, of which {len(there)} can be", remedy="choose another share"
        )
    order = torch.randperm(len(there), generator=Generator().manual_seed(seed))
    rows = torch.zeros(len(data), dtype=torch.bool)
    rows[there[order[:count]]] = True
    return rows


def _made(
    data: Dataset,
    worn: Trigger,
    aim: Aim,
    poison: tuple[Trigger, Tensor],
    cover: tuple[Trigger, Tensor] | None = None,
) -> Poisoned:
    """Stamp the rows of each pair; those of `poison` get the wanted labels."""
    stamped, rows = poison
    x, y, covers = data.x.clone(), data.y.clone(), torch.zeros_like(rows)
    x[rows], y[rows] = stamped.stamp(data.x[rows]), aim.wanted(data.y[rows])
    if cover is not None:
        other, covers = cover
        x[covers] = other.stamp(data.x[covers])
    return Poisoned(_changed(data, x, y), rows, covers, worn, aim)


def _changed(data: Dataset, x: Tensor, y: Tensor) -> Dataset:
    return Dataset(x, y, data.source, digest_of(x, y))
