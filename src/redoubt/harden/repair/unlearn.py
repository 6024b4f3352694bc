"""Unlearning a trigger: train with it stamped on inputs that keep their right labels (Wang et al. 2019, VI-C)."""

import copy
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from redoubt.attacks.backdoor import Course, Trigger, fit
from redoubt.data import Dataset
from redoubt.harden.repair.held import accuracy, halves
from redoubt.harden.repair.prune import TUNING, Pruned


def unlearn(
    module: nn.Module,
    triggers: Sequence[Trigger],
    clean: Dataset,
    share: float = 0.5,
    course: Course = TUNING,
    seed: int = 0,
) -> Pruned:
    """Fine-tune on clean examples, of which a share wear one of the triggers and keep their labels.

    What is not covered: triggers that the given ones do not resemble; a recovered trigger need not be the planted one.

    Args:
        module: the suspect; it stays as it is.
        triggers: as inversion or quarantine found them; at least one.
        clean: trusted examples; half of them train, half of them tell what it cost.
        share: of each batch that wears a trigger.  The paper's 20 % are of far more examples.
        course: of the fine-tuning.
        seed: of the halves.

    Raises:
        ValueError: no trigger.
    """
    if not triggers:
        raise ValueError("no trigger to unlearn")
    mine = copy.deepcopy(module).eval()
    train, held = halves(clean, seed)
    before = accuracy(mine, held)

    def stamped(x: Tensor, y: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
        worn = x.clone()
        which = torch.randint(len(triggers), (len(x),), generator=rng)
        wearing = torch.rand(len(x), generator=rng) < share
        for number, trigger in enumerate(triggers):
            rows = wearing & (which == number)
            if rows.any():
                worn[rows] = trigger.stamp(x[rows])
        return worn, y

    fit(mine, train, course, stamped)
    return Pruned(mine, torch.zeros(0, dtype=torch.int64), before, accuracy(mine, held))
