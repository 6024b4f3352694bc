"""Refuses images whose answer changes when they are squeezed.

Xu, Evans, Qi 2018, "Feature squeezing: detecting adversarial examples in deep neural networks", section 5: the greatest
L1 distance of the probabilities of the image from those of its squeezed versions; threshold at 5 % false refusals.
Squeezers as there for colour images, 5 bits and a 2x2 median, without non-local means.  They measured it with FGSM,
BIM, DeepFool, JSMA and Carlini-Wagner made on the network alone.  Broken by He et al. 2017 with a joint loss.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gallery.attack import LEAST, straight, unseen
from gallery.bit_depth import BitDepth
from gallery.defence import Aim, Defence, Ground
from gallery.network import network

BITS = 5
REFUSED = 0.05  # share of held-out training images


class Median(nn.Module):
    """Each pixel of `[B, 1, H, W]` as the median of the 2x2 patch that ends at it, the borders reflected."""

    def forward(self, x: Tensor) -> Tensor:
        patches = F.pad(x, (1, 0, 1, 0), mode="reflect").unfold(2, 2, 1).unfold(3, 2, 1).flatten(4)
        return patches.sort(dim=-1).values[..., 1:3].mean(dim=-1)


class Disagreement(nn.Module):
    """Greatest L1 distance of probabilities, beyond the threshold."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(0.0))

    def forward(self, logits: Tensor, *squeezed: Tensor) -> Tensor:
        own = logits.softmax(dim=1)
        distances = [(own - other.softmax(dim=1)).abs().sum(dim=1) for other in squeezed]
        return torch.stack(distances).amax(dim=0) - self.threshold


class FeatureSqueezing(nn.Module):
    """Classify the image as it is; refuse it if its squeezed versions look otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()
        self.bits = BitDepth(BITS)
        self.median = Median()
        self.detector = Disagreement()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(x)
        return logits, self.detector(logits, self.network(self.bits(x)), self.network(self.median(x)))


def fit(module: nn.Module, ground: Ground) -> None:
    """The undefended network; the threshold on held-out images."""
    module.network.load_state_dict(ground.plain.state_dict())
    with torch.no_grad():
        module.detector.threshold.copy_(module(ground.held_x)[1].quantile(1 - REFUSED))


def _smooth(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    logits = module.network(x)
    rounded, median = module.network(straight(module.bits)(x)), module.network(module.median(x))
    return logits, module.detector(logits, rounded, median)


DEFENCE = Defence(
    name="feature_squeezing",
    paper="Feature squeezing (Xu et al. 2018)",
    build=FeatureSqueezing,
    fit=fit,
    authors=LEAST,
    by_hand=Aim(
        "joint loss, BPDA",
        lambda defended, _: unseen(lambda x: _smooth(defended, x)),
        steps=100,
        restarts=2,
        oblivious=False,
    ),
)
