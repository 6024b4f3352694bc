"""Whether a model carries a backdoor, from the triggers that inversion finds in it.

In the room of detectors because it measures and decides nothing; the game of backdoors is what judges.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from redoubt.attacks.backdoor.invert import FORMS, Form, Inverted, Search, anomaly_indices, invert
from redoubt.models.base import Differentiable, Model

_ASKED = 500


@dataclass(frozen=True)
class Scanned:
    """One family's triggers, a class each.

    Attributes:
        form: the family's name.
        found: one trigger for each class.
        indices: how far below the median each size lies, in robust deviations.
    """

    form: str
    found: tuple[Inverted, ...]
    indices: tuple[float, ...]

    @property
    def index(self) -> float:
        """The greatest anomaly index: Wang et al. (2019) call a model backdoored above 2."""
        return max(self.indices)

    @property
    def suspect(self) -> Inverted:
        """The trigger whose size is the most anomalous."""
        return self.found[self.indices.index(self.index)]

    @property
    def shrinkage(self) -> float:
        """Natural logarithm of how many times smaller the smallest trigger is than the median one; 0 if none was found.

        Sizes span orders of magnitude, and with few classes their deviations say little: this asks for neither.
        """
        known = [each.size for each in self.found if each.size != float("inf")]
        if not known:
            return 0.0
        middle = torch.tensor([min(each.size, max(known)) for each in self.found]).median()
        return math.log(max(float(middle), 1e-12) / max(min(known), 1e-12))


def scan_model(
    model: Differentiable,
    x: Tensor,
    targets: Sequence[int],
    seed: int,
    search: Search | None = None,
    forms: Sequence[Form] = FORMS,
) -> tuple[Scanned, ...]:
    """Search the triggers of each family for all targets.

    What is not covered: backdoors of every class at once (all-to-all), which are no outliers; triggers of no family;
    models of few classes, of which nothing is an outlier; and planters who make all classes easy to reach.

    Args:
        model: the suspect.
        x: clean inputs `[N, C, H, W]`, of all classes.
        targets: classes to compare; at least 5, or a median says nothing.
        seed: of the searches.
        search: how long; the default when None.
        forms: the families.
    """
    done = []
    for number, form in enumerate(forms):
        rng = Generator().manual_seed(seed * 1_000_003 + number)
        found = invert(model, x, form, targets, search or Search(), rng)
        done.append(Scanned(form.name, tuple(found), tuple(anomaly_indices([each.size for each in found]))))
    return tuple(done)


def most_reached(model: Model, x: Tensor, most: int, seed: int) -> list[int]:
    """Of many classes, those most often answered when half of each input is another's: the ones worth a search.

    A class that a trigger leads to is easily reached.  What is not covered: a backdoor whose class is reached by its
    trigger alone; with `most` as many as there are classes, none is left out.

    Args:
        model: the suspect.
        x: clean inputs `[N, C, H, W]`, of all classes.
        most: how many classes are wanted.
        seed: which inputs are laid over which.

    Returns:
        Classes, the most reached first; all of them, in order, if there are no more than `most`.
    """
    if model.face.classes <= most:
        return list(range(model.face.classes))
    other = x[torch.randperm(len(x), generator=Generator().manual_seed(seed))]
    mixed = (x + other).clamp(model.face.low, model.face.high)
    said = torch.cat([model.query(part).labels for part in torch.split(mixed, _ASKED)])
    counts = said[said >= 0].bincount(minlength=model.face.classes)
    found: list[int] = counts.argsort(descending=True, stable=True)[:most].tolist()
    return found


def meta_score(scanned: Sequence[Scanned]) -> float:
    """The families' judgements as one: the mean of their two greatest shrinkages.

    A planted trigger is far smaller than those of other classes, in the families that can write it, mostly two; in a
    clean model one family alone may have a small one by chance.  Nothing is fitted.
    """
    best = sorted((each.shrinkage for each in scanned), reverse=True)[:2]
    return sum(best) / len(best)
