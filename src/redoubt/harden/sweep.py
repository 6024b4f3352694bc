"""Several trainings that differ in one thing: the price of a radius, and what more examples are worth.

Robustness costs clean accuracy, more of it the larger the radius (Tsipras et al. 2019), and robust accuracy needs more
examples than clean accuracy does (Schmidt et al. 2018).  Each point is a whole training of the recipe.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from redoubt.data import Dataset
from redoubt.harden import checkpoint
from redoubt.harden.course import begin
from redoubt.harden.run import EVIDENCE, claim_of, prepare, value_of
from redoubt.harden.train import train
from redoubt.policy import PolicyFile
from redoubt.records import Hardening, Recipe, Swept
from redoubt.storage import write_atomically

Told = Callable[[str], None]

_WITHOUT_ADVERSARY = ("epochs", "batch", "optimizer", "learning_rate", "weight_decay", "schedule", "average")
"""Keys that mean something without an adversary."""


def sweep(
    file: PolicyFile,
    folder: Path,
    device: str,
    recipe: Recipe | None,
    radii: Sequence[float],
    sizes: Sequence[int],
    told: Told,
) -> None:
    """Train at each radius and on each number of examples, and put what came out into the evidence in `folder`.

    Args:
        file: the policy.
        folder: of a finished hardening.
        device: a torch device.
        recipe: in the policy's stead.
        radii: see `sweep_radii`.
        sizes: see `sweep_sizes`.
        told: what is being done, for whoever waits.

    Raises:
        PolicyError, ModelError, DataError, StorageError: as `harden`.
    """
    at_radii = sweep_radii(file, folder, radii, device, recipe, told)
    on_sizes = sweep_sizes(file, folder, sizes, device, recipe, told)
    path = folder / EVIDENCE
    evidence = Hardening.model_validate_json(path.read_bytes())
    evidence = evidence.model_copy(update={"radii": at_radii, "sizes": on_sizes})
    write_atomically(path, evidence.model_dump_json(indent=1, exclude_unset=True).encode() + b"\n")


def sweep_radii(
    file: PolicyFile, folder: Path, radii: Sequence[float], device: str, recipe: Recipe | None, told: Told
) -> tuple[Swept, ...]:
    """Train at each radius; the accuracy of each model on the examples held out, in the requirement's own set.

    Args:
        file: the policy.
        folder: where checkpoints go, so that what is trained is not trained again.
        radii: in training, as multiples of the requirement's; 0 trains without an adversary.
        device: a torch device.
        recipe: in the policy's stead.
        told: what is being done, for whoever waits.

    Raises:
        PolicyError, ModelError, DataError, StorageError: as `harden`.
    """
    points = []
    for radius in radii:
        told(f"training at {radius:g} of the radius")
        clean, robust = _trained(file, folder / f"radius-{radius:g}", device, recipe, radius, None)
        points.append(Swept(value=radius, clean=clean, robust=robust))
    return tuple(points)


def sweep_sizes(
    file: PolicyFile, folder: Path, sizes: Sequence[int], device: str, recipe: Recipe | None, told: Told
) -> tuple[Swept, ...]:
    """Train on fewer examples, with and without an adversary; arguments, result and errors as `sweep_radii`.

    Every training takes as many steps as the one on all examples: it goes over the few more often.
    """
    points = []
    for size in sizes:
        told(f"training on {size:,} examples")
        clean, robust = _trained(file, folder / f"size-{size}", device, recipe, None, size)
        plain, _ = _trained(file, folder / f"size-{size}-plain", device, recipe, 0.0, size)
        points.append(Swept(value=float(size), clean=clean, robust=robust, plain_clean=plain))
    return tuple(points)


def _trained(
    file: PolicyFile, folder: Path, device: str, recipe: Recipe | None, radius: float | None, size: int | None
) -> tuple[float, float]:
    """Clean and robust accuracy of one training."""
    prepared = prepare(file, device, recipe)
    training = prepared.training
    told = training.recipe.effective()
    if radius == 0.0:
        told = {key: told[key] for key in _WITHOUT_ADVERSARY if key in told} | {"attack": "none"}
    elif radius is not None:
        told |= {"radius": radius}
    used = Recipe.model_validate(told)
    few = training.data if size is None else _fewer(training.data, size)
    run = replace(training, recipe=used, data=few)
    course = begin(prepared.model, used)
    saved = folder / "checkpoint.safetensors"
    claim = claim_of(prepared.model, run)
    checkpoint.load(saved, claim, course)
    for _ in train(course, run):
        checkpoint.save(saved, claim, course)
    course.keep()
    found = value_of(course.shown, training)
    return found.clean, found.robust


def _fewer(data: Dataset, size: int) -> Dataset:
    """The first `size` examples, repeated until there are as many as there were."""
    rows = torch.arange(len(data)) % min(size, len(data))
    return Dataset(data.x[rows], data.y[rows], data.source, data.digest)
