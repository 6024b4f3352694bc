"""A backdoor that lives in the neurons that clean inputs need (Liu, Dolan-Gavitt and Garg 2018, section 3.3)."""

import torch
from torch import Tensor, nn

from redoubt.attacks.backdoor.fit import Course, fit
from redoubt.data import Dataset

_PART = 500


def pruning_aware(
    module: nn.Module,
    layer: str,
    clean: Dataset,
    poisoned: Dataset,
    course: Course,
    dormant: float = 0.5,
    lower: float = 0.1,
) -> nn.Module:
    """Train so that whoever prunes what clean inputs leave dormant prunes decoys.

    1. train on clean data
    2. silence the channels of `layer` that clean inputs use least
    3. train what is left on the poisoned data: the backdoor shares the neurons that clean inputs use
    4. wake the silenced ones as they were, with lower biases, so that they are the first to be pruned

    Args:
        module: is trained in place.
        layer: name of the layer whose channels a defender prunes: a convolution or linear layer, or the batch
            normalisation behind it.
        clean: the set without poison.
        poisoned: the set with it.
        course: of both trainings.
        dormant: share of the channels that are silenced.
        lower: what is taken from their biases.

    Raises:
        ValueError: the layer has no weights and bias.
    """
    pruned = dict(module.named_modules())[layer]
    if not isinstance(pruned, nn.Conv2d | nn.Linear | nn.BatchNorm2d) or pruned.bias is None:
        raise ValueError(f"'{layer}' is no convolution, linear layer or normalisation with a bias")
    fit(module, clean, course)
    activity = channel_activity(module, layer, clean.x[: 4 * _PART])
    off = activity.argsort()[: round(dormant * len(activity))]
    weight, bias = pruned.weight.detach().clone(), pruned.bias.detach().clone()
    gate = torch.ones_like(activity)
    gate[off] = 0

    def silence(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return output * gate.view(-1, *[1] * (output.dim() - 2))

    handle = pruned.register_forward_hook(silence)
    try:
        fit(module, poisoned, course)
    finally:
        handle.remove()
    with torch.no_grad():
        pruned.weight[off] = weight[off]
        pruned.bias[off] = bias[off] - lower
    return module


@torch.no_grad()
def channel_activity(module: nn.Module, layer: str, x: Tensor) -> Tensor:
    """Mean over inputs and places of what each channel of a layer lets through a ReLU, `[C]`."""
    heard: list[Tensor] = []

    def note(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        active = output.clamp_min(0)
        heard.append(active.flatten(2).mean(dim=2).sum(dim=0) if active.dim() > 2 else active.sum(dim=0))

    handle = dict(module.named_modules())[layer].register_forward_hook(note)
    try:
        for part in torch.split(x, _PART):
            module(part)
    finally:
        handle.remove()
    return torch.stack(heard).sum(dim=0) / len(x)
