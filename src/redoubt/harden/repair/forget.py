"""Forgetting triggers while all else stays: the model that it was teaches the one that it becomes.

Fine-tuning on the few examples that a defender has costs accuracy by itself.  A copy of the suspect, asked about the
same clean examples, holds the rest in place (distillation, Hinton et al. 2015), so that the triggers are what changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from redoubt.attacks.backdoor import Trigger
from redoubt.data import Dataset
from redoubt.models import TorchModel


@dataclass(frozen=True)
class Lesson:
    """How triggers are forgotten: Adam with one cycle of the learning rate; normalisation layers keep what they know.

    Attributes:
        steps: of the weights.
        batch: clean examples in a step, and as many again that wear a trigger.
        rate: greatest learning rate.
        worn: weight of the cross-entropy of those, beside that of the clean ones.
        hold: weight of the divergence from the suspect's answers on the clean ones.
        shift: each batch is rolled by up to so many pixels along each axis, before triggers are laid on.
    """

    steps: int = 200
    batch: int = 64
    rate: float = 1e-3
    worn: float = 1.0
    hold: float = 20.0
    shift: int = 2


def forget(
    model: TorchModel, suspect: TorchModel, triggers: Sequence[Trigger], clean: Dataset, lesson: Lesson, rng: Generator
) -> None:
    """Train a model, in place, to call inputs that wear a trigger by their labels, and clean ones as the suspect does.

    Args:
        model: what is trained, beginning as a copy of the suspect, or as an earlier lesson left it.
        suspect: as it came; it stays as it is.
        triggers: at least one; each input wears one of them.
        clean: trusted examples.
        lesson: how.
        rng: order, shifts, and who wears what.
    """
    weights = [weight for weight in model.module.parameters() if weight.is_floating_point()]
    optimizer = torch.optim.Adam(weights, lr=lesson.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lesson.rate, total_steps=max(lesson.steps, 2))
    model.module.eval().requires_grad_(True)
    for _ in range(lesson.steps):
        rows = torch.randint(len(clean), (lesson.batch,), generator=rng)
        x, y = _shifted(clean.x[rows], lesson.shift, rng), clean.y[rows]
        both = torch.cat([x, _worn(x, triggers, rng)])
        with torch.no_grad():
            said = suspect.training_logits(x).log_softmax(dim=1)
        with torch.enable_grad():
            logits = model.training_logits(both)
            plain, stamped = logits[: len(x)], logits[len(x) :]
            held = F.kl_div(plain.log_softmax(dim=1), said, log_target=True, reduction="batchmean")
            loss = F.cross_entropy(plain, y) + lesson.hold * held + lesson.worn * F.cross_entropy(stamped, y)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    model.module.requires_grad_(False)


def _worn(x: Tensor, triggers: Sequence[Trigger], rng: Generator) -> Tensor:
    which = torch.randint(len(triggers), (len(x),), generator=rng)
    worn = x.clone()
    for number, trigger in enumerate(triggers):
        rows = which == number
        if rows.any():
            worn[rows] = trigger.stamp(x[rows])
    return worn


def _shifted(x: Tensor, by: int, rng: Generator) -> Tensor:
    if not by:
        return x
    return torch.roll(x, torch.randint(-by, by + 1, (2,), generator=rng).tolist(), dims=(2, 3))
