"""From what a training released to a number for each canary and step: large where the canary looks to have been in."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from redoubt.attacks.canary.plant import Canaries
from redoubt.records import ModelError

_BLOCK = 256


def linear_traces(weights: Tensor, canaries: Canaries, momentum: float = 0.0) -> Tensor:
    """How far each step of a softmax regression went along each canary's own gradient; `[m, S]`.

    Args:
        weights: `[S + 1, K, D + 1]`, the bias last: before the first step and after every one, or before and after the
            whole training (S = 1).
        canaries: features `[m, D]`.
        momentum: is taken off again, so that each step shows by itself.

    In units of the learning rate; only ratios mean something.
    """
    moves = weights[:-1] - weights[1:]
    if momentum:
        moves = torch.cat([moves[:1], moves[1:] - momentum * moves[:-1]])
    given = torch.cat([canaries.x.flatten(1), torch.ones(len(canaries), 1)], dim=1)
    length = given.norm(dim=1, keepdim=True)
    columns = []
    for before, move in zip(weights[:-1], moves, strict=True):
        residual = (given @ before.T).softmax(1)
        residual[torch.arange(len(given)), canaries.y] -= 1
        along = ((given @ move.T) * residual).sum(1, keepdim=True)
        columns.append(along / (length * residual.norm(dim=1, keepdim=True)).clamp_min(1e-30))
    return torch.cat(columns, dim=1).double()


def module_traces(modules: Sequence[nn.Module], canaries: Canaries) -> Tensor:
    """As `linear_traces`, of any classifier whose weights before the first step and after each were released.

    Args:
        modules: S + 1 of them, at least 2; `[B, *shape]` to logits `[B, K]`.
        canaries: with inputs that they take.

    Raises:
        ModelError: fewer than two, or they have not the same parameters.
    """
    states = [[p for p in module.parameters() if p.requires_grad] for module in modules]
    shapes = {tuple(tuple(p.shape) for p in state) for state in states}
    if len(states) < 2 or len(shapes) != 1:
        raise ModelError(
            f"{len(states)} modules of {len(shapes)} kinds are no course of a training",
            remedy="return the module before the first step and after each, as copies",
        )
    columns = []
    for module, before, after in zip(modules[:-1], states[:-1], states[1:], strict=True):
        moves = [(a - b).detach() for a, b in zip(before, after, strict=True)]
        module.eval()
        column = []
        for x, y in zip(canaries.x, canaries.y, strict=True):
            loss = F.cross_entropy(module(x[None]), y[None])
            own = torch.autograd.grad(loss, before, allow_unused=True)
            pairs = [(g, move) for g, move in zip(own, moves, strict=True) if g is not None]
            size = torch.stack([g.square().sum() for g, _ in pairs]).sum().sqrt().clamp_min(1e-30)
            column.append(torch.stack([(g * move).sum() for g, move in pairs]).sum() / size)
        columns.append(torch.stack(column))
    return torch.stack(columns, dim=1).double()


def loss_traces(module: nn.Module, canaries: Canaries) -> Tensor:
    """How well the final model knows each canary, the loss turned round; `[m, 1]`."""
    module.eval()
    blocks = zip(torch.split(canaries.x, _BLOCK), torch.split(canaries.y, _BLOCK), strict=True)
    with torch.no_grad():
        losses = [F.cross_entropy(module(x), y, reduction="none") for x, y in blocks]
    return -torch.cat(losses).double().unsqueeze(1)
