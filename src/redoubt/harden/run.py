"""`harden`: a policy and its model in, a stronger model and its price out."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Generator

from redoubt.data import Dataset, load_data
from redoubt.harden import checkpoint
from redoubt.harden.adversarial import Epoch, train
from redoubt.models import TorchModel, load_model
from redoubt.perturb import build_set
from redoubt.policy import PolicyFile
from redoubt.records import ModelError, PolicyError, digest
from redoubt.storage import write_atomically

_HELD_OUT = 1000  # at most, and at most a tenth of the training data


@dataclass(frozen=True)
class Hardened:
    """A model made stronger.

    Attributes:
        weights: the safetensors file.
        against: the set it was trained to withstand.
        history: what each epoch did.
    """

    weights: Path
    against: str
    history: tuple[Epoch, ...]


def harden(
    file: PolicyFile, folder: Path, device: str = "cpu", heard: Callable[[Epoch, int], None] | None = None
) -> Hardened:
    """Train the policy's model to withstand one of its requirements.

    Training starts from the policy's weights, is saved after every epoch, and goes on from there when it is run again
    with the same policy, model and data.

    Args:
        file: the policy as read; it needs `harden` and `data.train`.
        folder: where `model.safetensors`, `history.json` and `checkpoint.safetensors` go.
        device: a torch device.
        heard: called after each epoch with what it did and how many there are.

    Raises:
        PolicyError: the policy says not how, or not with what.
        ModelError: the model is not a torch model.
        DataError: the training data does not fit.
        StorageError: the folder cannot be written to.
    """
    policy, recipe = file.policy, file.policy.harden
    if recipe is None or policy.data.train is None:
        raise PolicyError(
            "this policy does not say how to harden the model",
            file.place(),
            remedy=f"add `harden: {{against: {policy.requirements[0].id}}}` and `data.train`",
        )
    model = load_model(policy.model, file.base, lambda *keys: file.place("model", *keys), device)
    if not isinstance(model, TorchModel):
        raise ModelError(
            f"'{policy.model.source}' cannot be trained: only torch models can",
            file.place("model", "source"),
            remedy="write the model as a torch factory: `source: torch:<module>:<factory>`",
        )
    requirement = next(r for r in policy.requirements if r.id == recipe.against)
    within = build_set(requirement.within, model.face)
    data = load_data(policy.data.train, model.face, file.base, lambda *keys: file.place("data", "train", *keys))
    training, held_out = _hold_out(data, policy.seed)

    claim = digest([recipe.model_dump(mode="json"), repr(within), policy.seed, model.digest(), data.digest])
    optimizer = torch.optim.Adam(model.module.parameters(), lr=recipe.learning_rate)
    saved = folder / "checkpoint.safetensors"
    history = checkpoint.load(saved, claim, model.module, optimizer)
    for epoch in train(model, optimizer, training, held_out, within, recipe, policy.seed, len(history) + 1):
        history.append(epoch)
        checkpoint.save(saved, claim, model.module, optimizer, history)
        if heard is not None:
            heard(epoch, recipe.epochs)

    weights = folder / "model.safetensors"
    state = {name: value.detach().cpu().clone() for name, value in model.module.state_dict().items()}
    write_atomically(weights, safetensors.torch.save(state))
    write_atomically(folder / "history.json", json.dumps([asdict(epoch) for epoch in history], indent=1).encode())
    return Hardened(weights, str(within), tuple(history))


def _hold_out(data: Dataset, seed: int) -> tuple[Dataset, Dataset]:
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
