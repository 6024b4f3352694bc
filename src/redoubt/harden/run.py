"""`harden`: a policy and its model in, a stronger model and its price out.

1. the recipe, the set, the data                    (policy, perturb, data)
2. what the model is worth as it is                 (watch)
3. an epoch, a checkpoint, an epoch, …              (train, checkpoint)
4. the weights, and what they cost as evidence      (price)
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Generator

from redoubt.data import Dataset, load_data
from redoubt.harden import checkpoint
from redoubt.harden.augment import augmentation
from redoubt.harden.course import Course, begin
from redoubt.harden.epoch import Epoch
from redoubt.harden.gains import look, some, write_gains
from redoubt.harden.losses.interval import ball_of, begin_small, certified
from redoubt.harden.parallel import members
from redoubt.harden.price import evidence_of
from redoubt.harden.train import Training, train
from redoubt.harden.watch import Watched, watch
from redoubt.models import TorchModel, load_model
from redoubt.perturb import PerturbationSet, Union, build_set
from redoubt.policy import PolicyFile
from redoubt.records import (
    EvasionRequirement,
    HardenRecipe,
    ModelError,
    ModelSource,
    PolicyError,
    Price,
    Recipe,
    RedoubtError,
    digest,
)
from redoubt.storage import write_atomically

EVIDENCE = "hardened.json"
_HELD_OUT = 1000  # at most, and at most a tenth of the training data

Heard = Callable[[Epoch, int], None]


@dataclass(frozen=True)
class Hardened:
    """A model made stronger.

    Attributes:
        weights: the safetensors file.
        evidence: `hardened.json`: recipe, digests, price and curves.
        against: the set it was trained to withstand.
        history: what each epoch did.
        price: what it cost.
    """

    weights: Path
    evidence: Path
    against: str
    history: tuple[Epoch, ...]
    price: Price


@dataclass(frozen=True)
class Prepared:
    """All that a training needs: the model as it is, and what it is to be trained with."""

    model: TorchModel
    training: Training


def harden(
    file: PolicyFile, folder: Path, device: str = "cpu", heard: Heard | None = None, recipe: Recipe | None = None
) -> Hardened:
    """Train the policy's model to withstand one of its requirements, or several.

    Training starts from the policy's weights, is saved after every epoch, and goes on from there when it is run again
    with the same policy, model and data.  Where several processes run it (`torch.distributed`), the first one writes.

    Args:
        file: the policy as read; it needs `harden` and `data.train`.
        folder: where `model.safetensors`, `hardened.json` and `checkpoint.safetensors` go.
        device: a torch device.
        heard: called after each epoch with what it did and how many there are.
        recipe: in the stead of the policy's own.

    Raises:
        PolicyError: the policy says not how, or not with what.
        ModelError: the model is not a torch model.
        DataError: the training data does not fit.
        StorageError: the folder cannot be written to.
    """
    prepared = prepare(file, device, recipe)
    model, training = prepared.model, prepared.training
    used = training.recipe
    writes = members()[0] == 0
    claim = claim_of(model, training)
    few = some(training.held_out)
    digest_before, before = model.digest(), value_of(model, training)
    seen_before = look(model, few, training.within, training.seed, training.device)
    course = begin(model, used)
    saved = folder / "checkpoint.safetensors"
    checkpoint.load(saved, claim, course)
    for epoch in train(course, training):
        if writes:
            checkpoint.save(saved, claim, course)
        if heard is not None:
            heard(epoch, used.epochs)
    course.keep()
    price = _price(before, course, training)
    weights = folder / "model.safetensors"
    raw = safetensors.torch.save(
        {name: value.detach().cpu().clone() for name, value in course.shown.module.state_dict().items()}
    )
    evidence = evidence_of(file, training, digest_before, course, price, raw)
    if writes:
        write_atomically(weights, raw)
        write_atomically(folder / EVIDENCE, evidence.model_dump_json(indent=1, exclude_unset=True).encode() + b"\n")
        seen = look(course.shown, few, training.within, training.seed, training.device)
        write_gains(folder, few, seen_before, seen)
    return Hardened(weights, folder / EVIDENCE, str(training.within), tuple(course.history), price)


def prepare(file: PolicyFile, device: str, recipe: Recipe | None = None) -> Prepared:
    """Load what a policy says to train, and with what; errors as `harden`."""
    policy, own = file.policy, file.policy.harden
    if own is None or policy.data.train is None:
        raise PolicyError(
            "this policy does not say how to harden the model",
            file.place(),
            remedy=f"add `harden: {{against: {policy.requirements[0].id}}}` and `data.train`",
        )
    used: Recipe = own if recipe is None else recipe
    model = load_model(policy.model, file.base, lambda *keys: file.place("model", *keys), device)
    if not isinstance(model, TorchModel):
        raise ModelError(
            f"'{policy.model.source}' cannot be trained: only torch models can",
            file.place("model", "source"),
            remedy="write the model as a torch factory: `source: torch:<module>:<factory>`",
        )
    within = _set(file, own, model)
    if used.unions == "steepest" and len(within.members) == 1:
        raise PolicyError(
            "unions: steepest, but the model is trained against one set only",
            file.place("harden"),
            remedy="name several requirements: against: [first, second]",
        )
    if used.loss == "interval-bounds":
        _ready_for_bounds(file, model, within)
    augment = augmentation(used.augment, model.face, file.place("harden")) if used.augment is not None else None
    data = load_data(policy.data.train, model.face, file.base, lambda *keys: file.place("data", "train", *keys))
    training, held_out = hold_out(data, policy.seed)
    static = tuple(_static(file, index, device, used) for index in range(len(used.static)))
    where = torch.device(device)
    return Prepared(model, Training(training, held_out, within, used, policy.seed, where, static, augment))


def claim_of(model: TorchModel, training: Training) -> str:
    """Digest of all that decides the course of a training; the model as it is before."""
    return digest(
        [
            training.recipe.model_dump(mode="json"),
            repr(training.within),
            training.seed,
            model.digest(),
            training.data.digest,
            len(training.data),
            [other.digest() for other in training.static],
        ]
    )


def value_of(model: TorchModel, training: Training) -> Watched:
    """Accuracy of a model on the examples held out, as it is watched in training."""
    rng = Generator().manual_seed(training.seed * 1_000_003 + 500_000)
    steps = 2 * training.recipe.steps
    return watch(model, training.held_out, training.within, training.recipe, steps, rng, training.device)


def hold_out(data: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """Training examples, and a few to watch."""
    order = torch.randperm(len(data), generator=Generator().manual_seed(seed))
    few = max(min(_HELD_OUT, len(data) // 10), 1)
    watched, trained = order[:few].sort().values, order[few:].sort().values
    if len(trained) == 0:
        trained = watched
    return (
        Dataset(data.x[trained], data.y[trained], data.source, data.digest),
        Dataset(data.x[watched], data.y[watched], data.source, data.digest),
    )


def _set(file: PolicyFile, own: HardenRecipe, model: TorchModel) -> PerturbationSet:
    """The set of the requirement, or the union of the sets of several."""
    by_id = {each.id: each for each in file.policy.requirements if isinstance(each, EvasionRequirement)}
    sets = [build_set(by_id[name].within, model.face) for name in own.against]
    parts = tuple(part for each in sets for part in each.members)
    return sets[0] if len(sets) == 1 else Union(parts)


def _ready_for_bounds(file: PolicyFile, model: TorchModel, within: PerturbationSet) -> None:
    """Refuse what intervals cannot cover; begin a training from scratch with weights that suit them."""
    source = file.policy.model
    ball_of(within)
    if source.input.mean is not None or source.input.std is not None or source.outputs != "logits":
        raise PolicyError(
            "loss: interval-bounds sees the module alone; this model's input is normalised, or its output no logits",
            file.place("model", "input"),
            remedy="normalise inside the module, and return logits",
        )
    if source.weights is None:
        begin_small(model.module, model.face.shape, file.policy.seed)


def _static(file: PolicyFile, index: int, device: str, recipe: Recipe) -> TorchModel:
    named = recipe.static[index]
    source = ModelSource.model_validate(file.policy.model.model_dump() | named.model_dump())
    try:
        model = load_model(source, file.base, lambda *keys: file.place("harden", "static", index, *keys), device)
    except RedoubtError as error:
        raise type(error)(f"static[{index}]: {error.what}", error.where, remedy=error.remedy) from error
    if not isinstance(model, TorchModel):
        raise ModelError(
            f"'{named.source}' has no gradients: only torch models can stand in static",
            file.place("harden", "static", index),
            remedy="write it as a torch factory: `source: torch:<module>:<factory>`",
        )
    return model


def _price(before: Watched, course: Course, training: Training) -> Price:
    after, proved = value_of(course.shown, training), None
    if training.recipe.loss == "interval-bounds":
        proved = certified(course.shown.module, training.held_out, ball_of(training.within), training.device)
    return Price(
        clean_before=before.clean,
        clean_after=after.clean,
        robust_before=before.robust,
        robust_after=after.robust,
        examples=len(training.held_out),
        forwards=course.count.forwards,
        backwards=course.count.backwards,
        epochs=len(course.history),
        seconds=sum(epoch.seconds for epoch in course.history),
        certified_after=proved,
    )
