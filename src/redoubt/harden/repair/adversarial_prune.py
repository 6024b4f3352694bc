"""Adversarial neuron pruning: backdoored neurons are the ones that a small push makes err (Wu and Wang 2021)."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from redoubt.data import Dataset
from redoubt.harden.repair.held import accuracy, halves
from redoubt.harden.repair.prune import Pruned

_BATCH = 128


def adversarial_prune(
    module: nn.Module,
    clean: Dataset,
    radius: float = 0.4,
    share: float = 0.2,
    steps: int = 400,
    rate: float = 0.2,
    loss: float = 0.02,
    seed: int = 0,
) -> Pruned:
    """Learn which channels can stay when an adversary scales every channel and its bias, then cut the others off.

    In each step weights and biases of all channels are pushed by up to `radius` of themselves, up the clean loss; then
    the masks move down a mixture of the clean loss and the pushed one (equations 4 and 5).  Channels are pruned from
    the lowest mask on, as long as accuracy on held-out clean examples holds.  No weight is trained, and a handful of
    examples will do.

    What is not covered: backdoors spread thin over all channels, as blended and warping ones in small networks are.

    Args:
        module: the suspect; it stays as it is.
        clean: trusted examples; half of them train the masks, half of them tell how far pruning may go.
        radius: epsilon of the paper.
        share: alpha of the paper: weight of the clean loss.
        steps: of the masks.
        rate: their learning rate.
        loss: of accuracy that pruning may cost, 0..1.
        seed: of halves and batches.
    """
    mine = copy.deepcopy(module).eval()
    for weight in mine.parameters():
        weight.requires_grad_(False)
    train, held = halves(clean, seed)
    before, rng = accuracy(mine, held), Generator().manual_seed(seed)
    layers = _layers(mine)
    masks = [torch.ones(_width(part)) for part in layers]
    for _ in range(steps):
        rows = torch.randint(len(train), (min(_BATCH, len(train)),), generator=rng)
        x, y = train.x[rows], train.y[rows]
        pushes = [((torch.rand(2, len(m), generator=rng) * 2 - 1) * radius).requires_grad_(True) for m in masks]
        with _scaled(layers, masks, pushes):
            slopes = torch.autograd.grad(F.cross_entropy(mine(x), y), pushes)
        pushed = [(p.detach() + radius * s.sign()).clamp(-radius, radius) for p, s in zip(pushes, slopes, strict=True)]
        at = [mask.requires_grad_(True) for mask in masks]
        with _scaled(layers, at, pushed):
            harmed = F.cross_entropy(mine(x), y)
        still = [torch.zeros_like(push) for push in pushed]
        with _scaled(layers, at, still):
            natural = F.cross_entropy(mine(x), y)
        slopes = torch.autograd.grad(share * natural + (1 - share) * harmed, at)
        masks = [(mask.detach() - rate * slope).clamp(0, 1) for mask, slope in zip(at, slopes, strict=True)]
    off = _cut(mine, layers, masks, held, before - loss)
    return Pruned(mine, off, before, accuracy(mine, held))


def _cut(mine: nn.Module, layers: list[nn.Module], masks: list[Tensor], held: Dataset, least: float) -> Tensor:
    """Prune from the lowest mask on, in place, until accuracy falls below `least`; the channels, counted through."""
    all_masks = torch.cat(masks)
    of = [(layer, channel) for layer, mask in zip(layers, masks, strict=True) for channel in range(len(mask))]
    order = all_masks.argsort()
    count, last = 0, copy.deepcopy(mine.state_dict())
    for which in order.tolist():
        # Those whose mask never moved are not suspect, whatever they would cost.
        if all_masks[which] >= 0.9:
            break
        layer, channel = of[which]
        _zero(layer, channel)
        if accuracy(mine, held) < least:
            mine.load_state_dict(last)
            break
        count, last = count + 1, copy.deepcopy(mine.state_dict())
    return order[:count]


def _layers(module: nn.Module) -> list[nn.Module]:
    """Normalisations, where there are any, else all convolutions and linear layers but the last one."""
    parts = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    if parts:
        return list(parts)
    found: list[nn.Module] = [part for part in module.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    return found[:-1]


def _width(layer: nn.Module) -> int:
    weight = layer.weight
    return len(weight) if isinstance(weight, Tensor) else 0


@torch.no_grad()
def _zero(layer: nn.Module, channel: int) -> None:
    for part in (layer.weight, layer.bias):
        if isinstance(part, Tensor):
            part[channel] = 0


@contextmanager
def _scaled(layers: list[nn.Module], masks: list[Tensor], pushes: list[Tensor]) -> Iterator[None]:
    """Within: each layer's weights count (mask + push) times, its bias (1 + push) times, channel by channel."""

    def hook(mask: Tensor, push: Tensor):  # type: ignore[no-untyped-def]  # torch's own type of hooks says nothing
        def scale(layer: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            shape = (1, -1) + (1,) * (output.dim() - 2)
            bias = layer.bias.view(shape) if isinstance(layer.bias, Tensor) else output.new_zeros(())
            return (output - bias) * (mask + push[0]).view(shape) + bias * (1 + push[1]).view(shape)

        return scale

    handles = [
        layer.register_forward_hook(hook(mask, push)) for layer, mask, push in zip(layers, masks, pushes, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
