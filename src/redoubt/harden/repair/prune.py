"""Fine-pruning: cut off the channels that clean inputs do not use, then train what is left (Liu et al. 2018)."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from redoubt.attacks.backdoor import Course, channel_activity, fit
from redoubt.data import Dataset
from redoubt.harden.repair.held import accuracy, halves

TUNING = Course(epochs=10, batch=64, rate=1e-3)


@dataclass(frozen=True)
class Pruned:
    """A module with channels cut off.

    Attributes:
        module: the repaired copy.
        off: the channels, int64.
        before, after: accuracy on the held-out half of the clean data, before anything and after everything.
    """

    module: nn.Module
    off: Tensor
    before: float
    after: float


def fine_prune(
    module: nn.Module, layer: str, clean: Dataset, loss: float = 0.02, course: Course | None = TUNING, seed: int = 0
) -> Pruned:
    """Prune channels in the order of their activity on clean inputs while accuracy holds, then fine-tune.

    What is not covered: backdoors in the channels that clean inputs use, which is what a pruning-aware planter makes;
    then fine-tuning alone is left.

    Args:
        module: the suspect; it stays as it is.
        layer: the last convolution, or the normalisation behind it.
        clean: trusted examples; half of them train, half of them tell how far pruning may go.
        loss: of accuracy on the latter that pruning may cost, 0..1.
        course: of the fine-tuning; None leaves it out.
        seed: of the halves.
    """
    mine = copy.deepcopy(module).eval()
    train, held = halves(clean, seed)
    before = accuracy(mine, held)
    order = channel_activity(mine, layer, train.x).argsort()
    off = order[:0]
    last = copy.deepcopy(mine.state_dict())
    for count in range(1, len(order)):
        silence(mine, layer, order[count - 1 : count])
        if accuracy(mine, held) < before - loss:
            mine.load_state_dict(last)
            break
        off, last = order[:count], copy.deepcopy(mine.state_dict())
    if course is not None:
        fit(mine, train, course)  # behind a ReLU a silenced channel has no gradient; elsewhere it would grow back
        silence(mine, layer, off)
    return Pruned(mine, off, before, accuracy(mine, held))


@torch.no_grad()
def silence(module: nn.Module, layer: str, channels: Tensor) -> None:
    """Set weights and biases of some channels of a layer to 0, in place: behind a ReLU, they are never heard again.

    Raises:
        ValueError: the layer has no channels that can be silenced so.
    """
    part = dict(module.named_modules())[layer]
    if not isinstance(part, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
        raise ValueError(f"'{layer}' is no convolution, linear layer or normalisation")
    part.weight[channels] = 0
    if part.bias is not None:
        part.bias[channels] = 0
