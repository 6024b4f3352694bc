"""Where training stood after an epoch, as a safetensors file: weights, optimiser state, average, best, and history."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from redoubt.harden.count import Count
from redoubt.harden.course import Course, Tensors
from redoubt.harden.epoch import Epoch
from redoubt.storage import write_atomically


def save(path: Path, claim: str, course: Course) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: the file.
        claim: digest of all that decides the course of training; `load` asks for the same.
        course: where training stands.

    Raises:
        StorageError: it cannot be written.
    """
    tensors = _named("module", dict(course.model.module.state_dict()))
    for index, state in course.optimizer.state_dict()["state"].items():
        tensors |= {
            f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in state.items() if value is not None
        }
    if course.averaged is not None:
        tensors |= _named("averaged", dict(course.averaged.module.state_dict()))
    if course.best is not None:
        tensors |= _named("best", course.best)
    # A copy of each: tensors that share memory would be refused.
    copies = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    told = json.dumps(
        {
            "history": [asdict(epoch) for epoch in course.history],
            "steps": course.steps,
            "updates": course.updates,
            "count": asdict(course.count),
        }
    )
    metadata = {"claim": claim, "told": told, "digest": _digest(copies, told)}
    write_atomically(path, safetensors.torch.save(copies, metadata))


def load(path: Path, claim: str, course: Course) -> bool:
    """Take a checkpoint's state into the course; whether it was.

    An absent, damaged or foreign checkpoint (of another recipe, model or data) changes nothing.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("claim") != claim:
                return False
            tensors: Tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata["digest"] != _digest(tensors, metadata["told"]):
            return False
        told = json.loads(metadata["told"])
        history = [Epoch(**epoch) for epoch in told["history"]]
        steps, updates, count = int(told["steps"]), int(told["updates"]), Count(**told["count"])
        state: dict[int, Tensors] = {}
        for name, value in _within("optimizer", tensors).items():
            index, _, key = name.partition("/")
            state.setdefault(int(index), {})[key] = value
        course.model.module.load_state_dict(_within("module", tensors))
        course.optimizer.load_state_dict(
            {"state": state, "param_groups": course.optimizer.state_dict()["param_groups"]}
        )
        if course.averaged is not None:
            course.averaged.module.load_state_dict(_within("averaged", tensors))
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, TypeError, RuntimeError):
        return False
    course.best = _within("best", tensors) or None
    course.history, course.steps, course.updates, course.count = history, steps, updates, count
    return True


def _named(kind: str, state: Tensors) -> Tensors:
    return {f"{kind}/{name}": value for name, value in state.items()}


def _within(kind: str, tensors: Tensors) -> Tensors:
    return {name.removeprefix(f"{kind}/"): value for name, value in tensors.items() if name.startswith(f"{kind}/")}


def _digest(tensors: dict[str, Tensor], told: str) -> str:
    total = hashlib.sha256(told.encode())
    for name, value in sorted(tensors.items()):
        total.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return total.hexdigest()
