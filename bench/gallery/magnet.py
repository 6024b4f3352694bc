"""An autoencoder pulls images back to where training images lie, and a detector refuses those it moves too far.

Meng and Chen 2017, "MagNet: a two-pronged defense against adversarial examples", sections 3 to 5, as for MNIST: a
reformer trained with noise of 0.1, detectors by reconstruction error, thresholds by a false-refusal rate on held-out
images.  They measured it with FGSM, I-FGSM, DeepFool and Carlini-Wagner made on the network alone.  Broken by Carlini
and Wagner 2017, "MagNet and 'Efficient defenses...' are not robust", with a joint loss.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gallery.attack import UNDEFENDED, unseen
from gallery.defence import Aim, Defence, Ground
from gallery.network import network, train

NOISE = 0.1
REFUSED = 0.05  # share of held-out training images
_IMAGES = 8000


def autoencoder() -> nn.Module:
    """Images `[B, 1, 28, 28]` to themselves, through a quarter of the places; ReLU learns sooner than sigmoids."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 1, 3, padding=1),
        nn.Sigmoid(),
    )


class Strangeness(nn.Module):
    """Mean distance of images from their reconstructions, beyond the threshold: `[B]`."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(0.0))

    def forward(self, x: Tensor, reformed: Tensor) -> Tensor:
        return (x - reformed).abs().flatten(1).mean(dim=1) - self.threshold


class MagNet(nn.Module):
    """Reform, then classify; refuse what was reformed too much."""

    def __init__(self) -> None:
        super().__init__()
        self.reformer = autoencoder()
        self.network = network()
        self.detector = Strangeness()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        reformed = self.reformer(x)
        return self.network(reformed), self.detector(x, reformed)


class _Errors(nn.Module):
    """How badly an autoencoder gives back what it sees through noise, `[B]`."""

    def __init__(self, reformer: nn.Module) -> None:
        super().__init__()
        self.reformer = reformer

    def forward(self, x: Tensor) -> Tensor:
        seen = (x + NOISE * torch.randn_like(x)).clamp(0, 1)
        return F.mse_loss(self.reformer(seen), x, reduction="none").flatten(1).mean(dim=1)


def fit(module: nn.Module, ground: Ground) -> None:
    """The undefended network, an autoencoder on noisy training images, the threshold on held-out ones."""
    module.network.load_state_dict(ground.plain.state_dict())
    train(
        _Errors(module.reformer),
        ground.x[:_IMAGES],
        ground.y[:_IMAGES],
        epochs=4,
        rate=5e-3,
        loss=lambda errors, _: errors.mean(),
    )
    with torch.no_grad():
        module.detector.threshold.copy_(module(ground.held_x)[1].quantile(1 - REFUSED))


DEFENCE = Defence(
    name="magnet",
    paper="MagNet (Meng and Chen 2017)",
    build=MagNet,
    fit=fit,
    authors=UNDEFENDED,
    by_hand=Aim(
        "joint loss through the autoencoder",
        lambda defended, _: unseen(defended),
        steps=100,
        restarts=2,
        oblivious=False,
    ),
    data="mnist",
    radius=0.2,
)
