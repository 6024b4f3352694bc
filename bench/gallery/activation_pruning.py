"""Activations dropped at random after every layer, written into `forward`, not as a part.

Dhillon, Azizzadenesheli, Lipton, Bernstein, Kossaifi, Khanna, Anandkumar 2018, "Stochastic activation pruning for
robust adversarial defense", section 3: of n outputs, n draws with replacement keep those drawn, each with probability
in proportion to its size and scaled up by the inverse of the chance to be drawn at all; on a trained network, no
training.  They measured it with FGSM and its iterated form through the defence, on a gradient averaged over draws.
Broken by Athalye et al. 2018 with EOT and more steps.
"""

import torch
from torch import Tensor, nn

from gallery.attack import THROUGH, margins
from gallery.defence import Aim, Defence, Ground

DRAWN = 0.5  # draws, as a share of the outputs


class ActivationPruning(nn.Module):
    """The undefended network, pruned between its layers on every query."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 4, stride=2, padding=1)
        self.second = nn.Conv2d(16, 32, 4, stride=2, padding=1)
        self.third = nn.Linear(32 * 7 * 7, 128)
        self.last = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.first, self.second, self.third):
            x = torch.relu(layer(x)) if layer is not self.third else torch.relu(layer(x.flatten(1)))
            # r draws with replacement keep output i with chance 1 - (1 - p_i)^r; each by itself.
            flat = x.flatten(1)
            chance = flat / flat.sum(dim=1, keepdim=True).clamp_min(1e-12)
            kept = 1 - (1 - chance) ** (DRAWN * flat.shape[1])
            x = (flat * (torch.rand_like(kept) < kept) / kept.clamp_min(1e-6)).view_as(x)
        return self.last(x)


def fit(module: nn.Module, ground: Ground) -> None:
    """The undefended network serves as it is."""
    layers = (module.first, module.second, module.third, module.last)
    learnt = [layer for layer in ground.plain if not isinstance(layer, nn.ReLU | nn.Flatten)]
    for layer, known in zip(layers, learnt, strict=True):
        layer.load_state_dict(known.state_dict())


DEFENCE = Defence(
    name="activation_pruning",
    paper="Stochastic activation pruning (Dhillon et al. 2018)",
    build=ActivationPruning,
    fit=fit,
    authors=THROUGH,
    by_hand=Aim("EOT of 10", lambda defended, _: margins(defended), steps=60, samples=10, oblivious=False),
)
