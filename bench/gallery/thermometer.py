"""Every pixel as a thermometer of 16 bits: comparisons, which have no gradient.

Buckman, Roy, Raffel, Goodfellow 2018, "Thermometer encoding: one hot way to resist adversarial examples", section 4: 16
levels, the network trained on the code; here by the usual loop, without their adversarial training.  Of what they
measured it with this is the black-box part, examples made on another network; their white-box attack steps over the
code, not the image.  Broken by Athalye et al. 2018 with BPDA.
"""

import torch
from torch import Tensor, nn

from gallery.attack import UNDEFENDED, margins
from gallery.defence import Aim, Defence, Ground
from gallery.network import network, train

LEVELS = 16
_IMAGES = 20000


class Thermometer(nn.Module):
    """Grey images `[B, 1, H, W]` in 0..1 to bits `[B, levels, H, W]`: is a pixel above k / levels?"""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.register_buffer("marks", (torch.arange(levels) / levels).view(1, levels, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x > self.marks).to(x)

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


class ThermometerDefence(nn.Module):
    """Encode, then classify."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = Thermometer(LEVELS)
        self.network = nn.Sequential(nn.Conv2d(LEVELS, 16, 4, stride=2, padding=1), *network()[1:])

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.encode(x))


def fit(module: nn.Module, ground: Ground) -> None:
    """From scratch, on the code."""
    train(module, ground.x[:_IMAGES], ground.y[:_IMAGES])


def _smooth(module: nn.Module, x: Tensor) -> Tensor:
    """The code forwards; backwards every mark that the pixel has passed, as in the break."""
    soft = (x - module.encode.marks).clamp(0, 1)
    return module.network(soft + (module.encode(x) - soft).detach())


DEFENCE = Defence(
    name="thermometer",
    paper="Thermometer code, 16 levels (Buckman et al. 2018)",
    build=ThermometerDefence,
    fit=fit,
    authors=UNDEFENDED,
    by_hand=Aim(
        "BPDA, thermometer without steps",
        lambda defended, _: margins(lambda x: _smooth(defended, x)),
        steps=60,
        restarts=3,
        oblivious=False,
    ),
)
