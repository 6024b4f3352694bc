"""Every pixel becomes the nearest of a few codewords learnt from the data; a lookup within `forward`, not a part.

Chen, Wu, Rastogi, Liang, Jha 2019, "Towards understanding limitations of pixel discretization against adversarial
attacks" (and Chen et al. 2018, "Data-specific discretization"), algorithm 1: codewords taken one after another where
the pixels of the training images lie densest, those around each left out of the next; before the undefended network.
The kind of evaluation that they warn against, of the defences they name, is gradients taken through the lookup, or made
on the network alone.  Broken there with BPDA.
"""

import torch
from torch import Tensor, nn

from gallery.attack import UNDEFENDED, margins
from gallery.defence import Aim, Defence, Ground

CODES = 8
APART = 0.1  # codewords closer than this to one already taken are passed over


class Palette(nn.Module):
    """Look pixels up in `codes`, then classify.

    Numpy's index arithmetic stands in `forward` because people write it so; autograd never hears of the pixels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 4, stride=2, padding=1)
        self.second = nn.Conv2d(16, 32, 4, stride=2, padding=1)
        self.third = nn.Linear(32 * 7 * 7, 128)
        self.last = nn.Linear(128, 10)
        self.register_buffer("codes", torch.linspace(0, 1, CODES))

    def forward(self, x: Tensor) -> Tensor:
        borders = (self.codes[1:] + self.codes[:-1]) / 2
        seen = self.codes[torch.bucketize(x.detach(), borders)]
        hidden = torch.relu(self.second(torch.relu(self.first(seen))))
        return self.last(torch.relu(self.third(hidden.flatten(1))))


def codewords(x: Tensor, count: int) -> Tensor:
    """The densest grey levels of images in 0..1, `[count]` in order, none within `APART` of another."""
    left = torch.histc((x * 255).round(), 256, 0, 255)
    taken: list[int] = []
    for _ in range(count):
        if not left.any():
            break
        densest = int(left.argmax())
        taken.append(densest)
        left[max(densest - int(APART * 255), 0) : densest + int(APART * 255) + 1] = 0
    return torch.tensor(sorted(taken)) / 255


def fit(module: nn.Module, ground: Ground) -> None:
    """Codewords from the training images; the undefended network serves as it is."""
    found = codewords(ground.x, CODES)
    module.codes.copy_(torch.cat([found, found[-1:].expand(CODES - len(found))]))
    layers = (module.first, module.second, module.third, module.last)
    learnt = [layer for layer in ground.plain if not isinstance(layer, nn.ReLU | nn.Flatten)]
    for layer, known in zip(layers, learnt, strict=True):
        layer.load_state_dict(known.state_dict())


def _smooth(module: nn.Module, x: Tensor) -> Tensor:
    """The same network on what the lookup gives, backwards as if it gave its input."""
    borders = (module.codes[1:] + module.codes[:-1]) / 2
    seen = x + (module.codes[torch.bucketize(x.detach(), borders)] - x).detach()
    hidden = torch.relu(module.second(torch.relu(module.first(seen))))
    return module.last(torch.relu(module.third(hidden.flatten(1))))


DEFENCE = Defence(
    name="palette",
    paper="Discretisation by learnt codewords (Chen et al. 2019)",
    build=Palette,
    fit=fit,
    authors=UNDEFENDED,
    by_hand=Aim(
        "BPDA, identity",
        lambda defended, _: margins(lambda x: _smooth(defended, x)),
        steps=60,
        restarts=3,
        oblivious=False,
    ),
    radius=0.15,
)
