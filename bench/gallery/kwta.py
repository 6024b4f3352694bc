"""k-winners-take-all in place of ReLU: a discontinuous activation, whose gradient is right only at the point itself.

Xiao, Zhong, Zheng 2020, "Enhancing adversarial defense by k-winners-take-all", section 3: of all of a layer's outputs
the largest 10 % pass, trained from scratch by the usual loop.  They measured it with PGD, DeepFool, Carlini-Wagner and
MIM through the defence.  Broken by Tramer et al. 2020 with gradients estimated over a neighbourhood.
"""

import torch
from torch import Tensor, nn

from gallery.attack import THROUGH, margins
from gallery.defence import Aim, Defence, Ground
from gallery.network import train

RATIO = 0.1


class KWinners(nn.Module):
    """Of each example's outputs `[B, ...]` the largest share `ratio` as they are, and zeros."""

    def __init__(self, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        winners = flat.topk(max(int(self.ratio * flat.shape[1]), 1), dim=1)
        least = winners.values[:, -1].view(-1, *[1] * (x.dim() - 1))
        return x * (x >= least)

    def extra_repr(self) -> str:
        return f"ratio={self.ratio}"


def build() -> nn.Module:
    """The undefended network with another activation."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1),
        KWinners(RATIO),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        KWinners(RATIO),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 128),
        KWinners(RATIO),
        nn.Linear(128, 10),
    )


def fit(module: nn.Module, ground: Ground) -> None:
    train(module, ground.x, ground.y, epochs=6)


def _soft(module: nn.Module, x: Tensor) -> Tensor:
    """The module forwards; backwards, outputs that nearly won count too, by how nearly."""
    for layer in module:
        if isinstance(layer, KWinners):
            won = layer(x)
            least = won.masked_fill(won == 0, torch.inf).flatten(1).amin(dim=1).view(-1, *[1] * (x.dim() - 1))
            spread = x.detach().flatten(1).std(dim=1).view_as(least)
            soft = x * torch.sigmoid((x - least.detach()) / (0.3 * spread))
            x = soft + (won - soft).detach()
        else:
            x = layer(x)
    return x


DEFENCE = Defence(
    name="kwta",
    paper="k-winners-take-all, 10 % (Xiao et al. 2020)",
    build=build,
    fit=fit,
    authors=THROUGH,
    by_hand=Aim(
        "BPDA, soft threshold, averaged over noise",
        lambda defended, _: margins(lambda x: _soft(defended, x + 0.05 * torch.randn_like(x))),
        steps=60,
        samples=4,
        restarts=3,
        fine=0.3,
        oblivious=False,
    ),
    radius=0.15,
)
