"""Random resizing and padding before the network.

Xie, Wang, Zhang, Ren, Yuille 2018, "Mitigating adversarial effects through randomization", section 3: from 299 pixels
to a random size below 331, then zeros around it at random; nearest neighbours.  The same proportion of 28 is below 31.
They measured it with FGSM, DeepFool and Carlini-Wagner made on the network alone, or through one or a few fixed
patterns.  Broken by Athalye et al. 2018 with EOT.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gallery.attack import LEAST, margins
from gallery.defence import Aim, Defence, Ground
from gallery.network import network, train

FULL = 31


class ResizePad(nn.Module):
    """Each image `[B, C, H, H]` at a size and place of its own, H or more within `[B, C, full, full]`."""

    def __init__(self, full: int) -> None:
        super().__init__()
        self.full = full

    def forward(self, x: Tensor) -> Tensor:
        own = x.shape[-1]
        sizes = torch.randint(own, self.full, (len(x),)).tolist()
        return torch.cat([self._place(picture, size) for picture, size in zip(x.split(1), sizes, strict=True)])

    def _place(self, picture: Tensor, size: int) -> Tensor:
        left, top = torch.randint(0, self.full - size + 1, (2,)).tolist()
        grown = F.interpolate(picture, size=(size, size), mode="nearest")
        return F.pad(grown, (left, self.full - size - left, top, self.full - size - top))

    def extra_repr(self) -> str:
        return f"full={self.full}"


class ResizePadDefence(nn.Module):
    """Resize and pad at random, then classify; the network's strides swallow the 3 pixels more."""

    def __init__(self) -> None:
        super().__init__()
        self.resize = ResizePad(FULL)
        self.network = network()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.resize(x))


def fit(module: nn.Module, ground: Ground) -> None:
    """The undefended network, trained on through the layer, without which images this small lose 9 points."""
    module.network.load_state_dict(ground.plain.state_dict())
    train(module, ground.x, ground.y, epochs=2)


DEFENCE = Defence(
    name="resize_pad",
    paper="Random resize and pad (Xie et al. 2018)",
    build=ResizePadDefence,
    fit=fit,
    authors=LEAST,
    by_hand=Aim("EOT of 10", lambda defended, _: margins(defended), steps=60, samples=10, oblivious=False),
    radius=0.15,
)
