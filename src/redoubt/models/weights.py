"""Weights of a torch module from a safetensors file: strict, and never a pickle."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from redoubt.models.files import sha256
from redoubt.records import ModelError
from redoubt.supply.gate import OPEN, Gate

MAX_BYTES = 16 * 2**30
_SHOWN = 4


def read_weights(path: Path, gate: Gate = OPEN) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        ModelError: the gate refuses the file: it is a pickle or another kind of file, damaged, or not vouched for.
    """
    raw = gate.admit(path, "safetensors", MAX_BYTES)
    try:
        tensors: dict[str, Tensor] = load_safetensors(raw)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"{path.name} is not a sound safetensors file: {error}",
            remedy="save the weights with safetensors.torch.save_file(model.state_dict(), 'model.safetensors')",
        ) from error
    return tensors


def fit_weights(module: nn.Module, weights: dict[str, Tensor], name: str) -> None:
    """Copy the weights into the module.  Names of tied tensors may be given once only.

    Raises:
        ModelError: a tensor is missing, unexpected or of another shape; the module is unchanged.
    """
    own = module.state_dict()
    given = {own[key].data_ptr() for key in own.keys() & weights.keys() if own[key].numel()}
    missing = [key for key in own if key not in weights and own[key].data_ptr() not in given]
    unexpected = [key for key in weights if key not in own]
    shapes = [
        f"{key} is {list(weights[key].shape)} in the file, {list(own[key].shape)} in the model"
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    wrong = [
        f"{kind}: {', '.join(keys[:_SHOWN])}{f' and {len(keys) - _SHOWN} more' if len(keys) > _SHOWN else ''}"
        for kind, keys in (("missing", missing), ("unexpected", unexpected), ("misshaped", shapes))
        if keys
    ]
    if wrong:
        raise ModelError(
            f"{name} does not fit the model that the factory builds; {'; '.join(wrong)}",
            remedy="give the weights of this very architecture, or let the factory build the one they belong to",
        )
    module.load_state_dict(weights, strict=False)


def digest_of_state(module: nn.Module) -> str:
    """`sha256:<hex>` over the module's parameters and buffers: names in order, types, shapes, bytes."""
    parts: list[bytes] = []
    for key, value in sorted(module.state_dict().items()):
        if isinstance(value, Tensor):
            tensor = value.detach().cpu().contiguous().reshape(-1)
            parts.append(f"{key} {value.dtype} {list(value.shape)}".encode())
            parts.append(tensor.view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return sha256(*parts)
