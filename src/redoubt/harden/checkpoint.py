"""Where training stood after an epoch, as a safetensors file: weights, optimiser state and history."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from redoubt.harden.adversarial import Epoch
from redoubt.storage import write_atomically


def save(path: Path, claim: str, module: nn.Module, optimizer: torch.optim.Optimizer, history: list[Epoch]) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: the file.
        claim: digest of all that decides the course of training; `load` asks for the same.
        module: its state is saved.
        optimizer: its state is saved.
        history: the epochs so far.

    Raises:
        StorageError: it cannot be written.
    """
    tensors = {f"module/{name}": value for name, value in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in state.items()}
    # A copy of each: tensors that share memory would be refused.
    copies = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    told = json.dumps([asdict(epoch) for epoch in history])
    metadata = {"claim": claim, "history": told, "digest": _digest(copies, told)}
    write_atomically(path, safetensors.torch.save(copies, metadata))


def load(path: Path, claim: str, module: nn.Module, optimizer: torch.optim.Optimizer) -> list[Epoch]:
    """Take a checkpoint's state into module and optimiser, and return its history.

    An absent, damaged or foreign checkpoint (of another recipe, model or data) changes nothing and gives no history.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("claim") != claim:
                return []
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata["digest"] != _digest(tensors, metadata["history"]):
            return []
        history = [Epoch(**epoch) for epoch in json.loads(metadata["history"])]
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition("/")
            if kind == "optimizer":
                index, _, key = rest.partition("/")
                state.setdefault(int(index), {})[key] = value
        module.load_state_dict({n.removeprefix("module/"): v for n, v in tensors.items() if n.startswith("module/")})
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, TypeError, RuntimeError):
        return []
    return history


def _digest(tensors: dict[str, Tensor], history: str) -> str:
    total = hashlib.sha256(history.encode())
    for name, value in sorted(tensors.items()):
        total.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return total.hexdigest()
