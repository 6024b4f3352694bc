"""STRIP: does the answer survive whatever is laid over the input? (Gao et al. 2019)."""

import math
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.data.base import Dataset
from redoubt.detectors.base import Detector, Seen
from redoubt.models.base import Model
from redoubt.records.guard import Strip as Settings

_ASKED = 1000


class Strip(Detector):
    """Mean entropy of the answers when clean inputs are laid over the one in question (sections III and V-A).

    A clean input under another clean one leaves the model in doubt; one that wears a trigger does not, for the trigger
    shows through.  Every input costs as many further forward passes as there are overlays.

    Args:
        settings: how many overlays.
        model: is asked again.
        clean: inputs known to be clean, from which the overlays are drawn once, spread over the classes.
    """

    signals: ClassVar[tuple[str, ...]] = ("overlay_entropy",)
    not_covered: ClassVar[str] = (
        "Triggers that the overlay covers or breaks: those bound to the input, warps, faint blends; backdoors that "
        "need the input's own class too (all-to-all); and models trained to doubt stamped inputs under overlays."
    )

    def __init__(self, settings: Settings, model: Model, clean: Dataset) -> None:
        rng = Generator().manual_seed(0)
        order = torch.randperm(len(clean), generator=rng)
        # In turn from each class: a pool of one class would make that class's inputs look certain.
        turn = torch.zeros(len(clean), dtype=torch.int64)
        for label in sorted(set(clean.y.tolist())):
            mine = order[clean.y[order] == label]
            turn[mine] = torch.arange(len(mine))
        self._pool = clean.x[order[turn[order].argsort(stable=True)][: settings.overlays]]
        self._model = model

    def look(self, seen: Seen) -> dict[str, Tensor]:
        """`overlay_entropy`, float64 `[B]`, as a share of log K: 0 is certain; NaN where any score is not finite."""
        face, pool = self._model.face, self._pool
        found = torch.full((len(seen.x),), torch.nan, dtype=torch.float64)
        at_once = max(_ASKED // len(pool), 1)
        for start in range(0, len(seen.x), at_once):
            x = seen.x[start : start + at_once]
            # Added and cut at the white, as the authors' code does: a mean would halve the trigger.
            laid = (x[:, None] + pool[None] - face.low).clamp(face.low, face.high)
            scores = self._model.query(laid.flatten(0, 1)).scores
            if scores is None:
                break
            log_p = scores.double().log_softmax(dim=1)
            entropy = -(log_p.exp() * log_p).sum(dim=1).view(len(x), len(pool)).mean(dim=1)
            found[start : start + at_once] = (entropy / math.log(face.classes)).clamp(0, 1)
        sound = torch.isfinite(seen.scores).all(dim=1)
        return {"overlay_entropy": torch.where(sound, found, torch.nan)}
