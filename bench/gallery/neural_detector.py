"""A small network beside the classifier, taught to tell adversarial images from clean ones by the first layers' output.

Metzen, Genewein, Fischer, Bischoff 2017, "On detecting adversarial perturbations", section 3: a subnetwork that
branches off an early layer, trained on the training images and their adversarial ones, the classifier's weights fixed.
They measured it with FGSM, BIM and DeepFool made on the network alone ("static adversaries").  Broken by Carlini and
Wagner 2017, "Adversarial examples are not easily detected".
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gallery.attack import LEAST, UNDEFENDED, ascend, both
from gallery.defence import Aim, Defence, Ground
from gallery.network import network, train

RADIUS = 0.1
REFUSED = 0.05  # share of held-out training images
_IMAGES = 1500


class Watcher(nn.Module):
    """Features `[B, 16, 14, 14]` to how adversarial they look, beyond the threshold: `[B]`."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 3 * 3, 1),
        )
        self.register_buffer("threshold", torch.tensor(0.0))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)[:, 0] - self.threshold


class NeuralDetector(nn.Module):
    """Classify; refuse what the watcher takes for adversarial."""

    def __init__(self) -> None:
        super().__init__()
        self.early = network()[:2]
        self.late = network()[2:]
        self.watcher = Watcher()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.early(x)
        return self.late(features), self.watcher(features)


def fit(module: nn.Module, ground: Ground) -> None:
    """The undefended network; the watcher on clean images and adversarial ones of two kinds; threshold on held-out."""
    whole = network()
    whole.load_state_dict(ground.plain.state_dict())
    module.early.load_state_dict(whole[:2].state_dict())
    module.late.load_state_dict(whole[2:].state_dict())
    x, y = ground.x[:_IMAGES], ground.y[:_IMAGES]
    torch.manual_seed(0)
    aims = (UNDEFENDED, LEAST)
    made = [
        ascend(aims[number % 2], ground.plain, ground.plain, *parts, RADIUS)
        for number, parts in enumerate(zip(x.split(500), y.split(500), strict=True))
    ]
    both = torch.cat([x, *made])
    bad = torch.cat([torch.zeros(len(x)), torch.ones(len(x))])
    beside = nn.Sequential(module.early.requires_grad_(False), module.watcher)
    train(beside, both, bad, epochs=10, loss=F.binary_cross_entropy_with_logits)
    with torch.no_grad():
        module.watcher.threshold.copy_(module(ground.held_x)[1].quantile(1 - REFUSED))


DEFENCE = Defence(
    name="neural_detector",
    paper="Neural detector (Metzen et al. 2017)",
    build=NeuralDetector,
    fit=fit,
    authors=UNDEFENDED,
    by_hand=Aim("joint loss", lambda defended, _: both(defended), steps=100, restarts=3, fine=0.05, oblivious=False),
)
