"""`repair`: a policy, its suspected model and trusted data in; a repaired model and its price out.

1. the model, the trusted examples, a quarter of them held out      (models, data)
2. the classes worth a search                                       (detectors.inversion)
3. scan, rounds, scan                                               (cleanse)
4. weights and evidence, each file whole or not at all              (storage)
"""

import math
import time
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import safetensors.torch
import torch
from torch import Generator

from redoubt.data import Dataset, load_data
from redoubt.detectors import Scanned, most_reached
from redoubt.harden.repair.cleanse import Cleansed, Heard, Plan, cleanse
from redoubt.models import TorchModel, load_model
from redoubt.policy import PolicyFile
from redoubt.records import (
    DataError,
    ModelError,
    PolicyError,
    Repair,
    RepairRound,
    ScannedFamily,
    digest,
)
from redoubt.storage import write_atomically

EVIDENCE = "repaired.json"
STANDS_OUT = 0.5  # a class whose smallest trigger is less than half an ordinary one's
_FEWEST = 40
_CLASSES = 10


@dataclass(frozen=True)
class Wish:
    """What whoever repairs may choose.

    Attributes:
        suspect: a class; the one that stands out most when None.
        price: most of the accuracy that a repair may cost, 0..1.
        rounds: at most.
        classes: how many are compared, where there are more; at least 5.
    """

    suspect: int | None = None
    price: float = Plan().price
    rounds: int = Plan().rounds
    classes: int = _CLASSES


@dataclass(frozen=True)
class Repaired:
    """What became of a suspected model.

    Attributes:
        evidence: see `Repair`.
        weights: the safetensors file; None where nothing was repaired, and so nothing written.
    """

    evidence: Repair
    weights: Path | None

    @property
    def stood_out(self) -> bool:
        """Whether the class was far easier to reach than an ordinary one."""
        return self.evidence.hardness_before is not None and self.evidence.hardness_before < STANDS_OUT

    @property
    def is_gone(self) -> bool:
        """Whether the class is now at least as hard to reach as an ordinary one was."""
        return self.evidence.hardness_after is None or self.evidence.hardness_after >= 1


def repair(
    file: PolicyFile, folder: Path, device: str = "cpu", wish: Wish | None = None, heard: Heard | None = None
) -> Repaired:
    """Unlearn the backdoor of a policy's model with the trusted examples of its `data.train`.

    Where no class stands out and none is named, nothing is repaired: to make an ordinary class hard to reach costs
    accuracy, and gains nothing.

    Args:
        file: the policy as read.
        folder: where `model.safetensors` and `repaired.json` go.
        device: a torch device.
        wish: what may be chosen; the defaults when None.
        heard: as for `cleanse`.

    Raises:
        PolicyError: the policy names no trusted data, or there is no such class.
        ModelError: the model is no torch model, or none of images.
        DataError: the data do not fit, or are too few.
        StorageError: the folder cannot be written to.
    """
    wish, begun = wish or Wish(), time.monotonic()
    model, data = _loaded(file, device)
    if wish.suspect is not None and not 0 <= wish.suspect < model.face.classes:
        raise PolicyError(
            f"there is no class {wish.suspect}: the model has {model.face.classes}",
            remedy=f"give one of 0 to {model.face.classes - 1}, or none, to have it found",
        )
    clean, held = _parted(data, file.policy.seed)
    targets = most_reached(model, clean.x, wish.classes, file.policy.seed)
    if wish.suspect is not None and wish.suspect not in targets:
        targets = [*targets, wish.suspect]
    plan = replace(Plan(), price=wish.price, rounds=wish.rounds)
    if wish.suspect is None:
        plan = replace(plan, stands_out=STANDS_OUT)
    done = cleanse(model, clean, held, targets, plan, file.policy.seed, wish.suspect, heard)
    raw = safetensors.torch.save(
        {name: value.detach().cpu().clone() for name, value in done.model.module.state_dict().items()}
    )
    evidence = Repair(
        redoubt=metadata.version("redoubt"),
        system=file.policy.system,
        suspect=done.suspect,
        named=wish.suspect is not None,
        hardness_before=_finite(done.hardness[0]),
        hardness_after=_finite(done.hardness[1]),
        clean_before=done.accuracy[0],
        clean_after=done.accuracy[1],
        examples=len(held),
        trained=len(clean),
        rounds=_rounds(done),
        before=tuple(_family(each) for each in done.before),
        after=tuple(_family(each) for each in done.after),
        seed=file.policy.seed,
        policy=digest(file.text.encode()),
        data=data.digest,
        model_before=model.digest(),
        model_after=done.model.digest(),
        weights=digest(raw),
        versions={"torch": torch.__version__},
        device=device,
        seconds=time.monotonic() - begun,
    )
    if not any(each.kept for each in done.rounds):
        return Repaired(evidence, None)
    weights = folder / "model.safetensors"
    write_atomically(weights, raw)
    write_atomically(folder / EVIDENCE, evidence.model_dump_json(indent=1).encode() + b"\n")
    return Repaired(evidence, weights)


def _loaded(file: PolicyFile, device: str) -> tuple[TorchModel, Dataset]:
    policy = file.policy
    if policy.data.train is None:
        raise PolicyError(
            "this policy names no trusted examples to repair the model with",
            file.place("data"),
            remedy="add `data.train`: images that you vouch for, not those that the model came with",
        )
    model = load_model(policy.model, file.base, lambda *keys: file.place("model", *keys), device)
    if not isinstance(model, TorchModel):
        raise ModelError(
            f"'{policy.model.source}' cannot be trained: only torch models can",
            file.place("model", "source"),
            remedy="write the model as a torch factory: `source: torch:<module>:<factory>`",
        )
    if len(model.face.shape) != 3:
        raise ModelError(
            f"inputs of shape {list(model.face.shape)} are no images: triggers are searched on [channels, height, "
            "width] only",
            file.place("model", "input"),
            remedy="repair is for models of images",
        )
    data = load_data(policy.data.train, model.face, file.base, lambda *keys: file.place("data", "train", *keys))
    if len(data) < _FEWEST:
        raise DataError(
            f"{len(data)} examples are too few to repair with",
            file.place("data", "train"),
            remedy=f"give {_FEWEST} at least; some twenty of each class make a repair cheap",
        )
    return model, data


def _parted(data: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """Three quarters to train on, a quarter to see what it costs."""
    order = torch.randperm(len(data), generator=Generator().manual_seed(seed))
    few = len(data) // 4
    held, clean = (Dataset(data.x[rows], data.y[rows], data.source, data.digest) for rows in (order[:few], order[few:]))
    return clean, held


def _rounds(done: Cleansed) -> tuple[RepairRound, ...]:
    return tuple(
        RepairRound(number=each.number, hardness=_finite(each.hardness), accuracy=each.accuracy, kept=each.kept)
        for each in done.rounds
    )


def _family(scanned: Scanned) -> ScannedFamily:
    return ScannedFamily(
        family=scanned.form,
        sizes={each.target: _finite(each.size) for each in scanned.found},
        index=scanned.index,
        easiest=scanned.suspect.target,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
