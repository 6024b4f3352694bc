"""Refuses answers that the nearest training images, layer by layer, do not share.

Papernot and McDaniel 2018, "Deep k-nearest neighbors: towards confident, interpretable and robust deep learning",
section 4: in each layer the k nearest training images by cosine; the number of neighbours over all layers whose label
is not the answer's, against those of held-out images, gives the answer's credibility; an input whose credibility is
under 5 % is refused.  Simplified: the network's answer is kept, neighbours are exact and among 3,000 images, k is 25.
They measured it with FGSM, BIM and Carlini-Wagner made on the network alone.  Broken by Sitawarin and Wagner 2019, who
draw the features among those of another class.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gallery.attack import LEAST, margin
from gallery.defence import Aim, Defence, Ground, Loss
from gallery.network import network

NEIGHBOURS = 25
STORED = 3000
REFUSED = 0.05  # share of held-out training images


class Neighbours(nn.Module):
    """Labels of the nearest stored features: `[B, ...]` to `[B, k]`."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("features", torch.zeros(STORED, size))
        self.register_buffer("labels", torch.zeros(STORED, dtype=torch.int64))

    def forward(self, features: Tensor) -> Tensor:
        likeness = F.normalize(features.flatten(1), dim=1) @ self.features.T
        return self.labels[likeness.topk(NEIGHBOURS, dim=1).indices]

    def store(self, features: Tensor, labels: Tensor) -> None:
        """Learn by heart."""
        rows = torch.arange(STORED) % len(labels)
        self.features.copy_(F.normalize(features.flatten(1), dim=1)[rows])
        self.labels.copy_(labels[rows])


class Nonconformity(nn.Module):
    """How many neighbours disagree with the answer, beyond the threshold: `[B]`."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(0.0))

    def forward(self, logits: Tensor, *neighbours: Tensor) -> Tensor:
        answers = logits.argmax(dim=1)[:, None]
        return (torch.cat(neighbours, dim=1) != answers).sum(dim=1).to(logits) - self.threshold


class DeepKnnDefence(nn.Module):
    """Classify; refuse what training images do not support."""

    def __init__(self) -> None:
        super().__init__()
        self.early = network()[:4]
        self.middle = network()[4:7]
        self.last = network()[7:]
        self.near_early = Neighbours(32 * 7 * 7)
        self.near_middle = Neighbours(128)
        self.detector = Nonconformity()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        early = self.early(x)
        middle = self.middle(early)
        logits = self.last(middle)
        return logits, self.detector(logits, self.near_early(early), self.near_middle(middle))


def fit(module: nn.Module, ground: Ground) -> None:
    """The undefended network in three pieces; features of training images; the threshold on held-out ones."""
    whole = network()
    whole.load_state_dict(ground.plain.state_dict())
    for piece, rows in ((module.early, slice(4)), (module.middle, slice(4, 7)), (module.last, slice(7, None))):
        piece.load_state_dict(whole[rows].state_dict())
    x, y = ground.x[:STORED], ground.y[:STORED]
    with torch.no_grad():
        early = module.early(x)
        module.near_early.store(early, y)
        module.near_middle.store(module.middle(early), y)
        counts = torch.cat([module(part)[1] for part in ground.held_x.split(500)])
        module.detector.threshold.copy_(counts.quantile(1 - REFUSED, interpolation="higher"))


def _among_others(module: nn.Module) -> Loss:
    """First wrong; then, in both layers, nearer to the images of the class that it is taken for."""

    def loss(x: Tensor, y: Tensor) -> Tensor:
        early = module.early(x)
        middle = module.middle(early)
        logits = module.last(middle)
        gap, answers = margin(logits, y), logits.argmax(dim=1)[:, None]
        support = torch.zeros(len(x))
        for near, features in ((module.near_early, early), (module.near_middle, middle)):
            weight = (F.normalize(features.flatten(1), dim=1) @ near.features.T * 30).softmax(dim=1)
            support = support + (weight * (near.labels == answers)).sum(dim=1)
        return torch.where(gap < 0.5, gap, support)

    return loss


DEFENCE = Defence(
    name="deep_knn",
    paper="Deep k-NN (Papernot and McDaniel 2018)",
    build=DeepKnnDefence,
    fit=fit,
    authors=LEAST,
    by_hand=Aim(
        "wrong, then among the neighbours of the wrong class",
        lambda defended, _: _among_others(defended),
        steps=100,
        restarts=2,
        oblivious=False,
    ),
)
