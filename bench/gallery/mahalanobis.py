"""Refuses what lies far, among the last features, from the training images of every class.

Lee, Lee, Lee, Shin 2018, "A simple unified framework for detecting out-of-distribution samples and adversarial
attacks", section 2: class means and one covariance of the features; the confidence of an input is its Mahalanobis
distance to the nearest mean.  Simplified: one layer, no noise on the input, the threshold by a false-refusal rate
instead of a regression on adversarial images.  They measured it with FGSM, BIM, DeepFool and Carlini-Wagner made on the
network alone.
"""

import torch
from torch import Tensor, nn

from gallery.attack import LEAST, both
from gallery.defence import Aim, Defence, Ground
from gallery.network import network

REFUSED = 0.05  # share of held-out training images
_RIDGE = 1e-3


class Distance(nn.Module):
    """Features `[B, D]` to their squared Mahalanobis distance from the nearest class mean, beyond the threshold."""

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(classes, size))
        self.register_buffer("whitening", torch.eye(size))
        self.register_buffer("threshold", torch.tensor(0.0))

    def forward(self, features: Tensor) -> Tensor:
        apart = (features[:, None] - self.means[None]) @ self.whitening
        return apart.square().mean(dim=2).amin(dim=1) - self.threshold


class Mahalanobis(nn.Module):
    """Classify; refuse what is far from everything known."""

    def __init__(self) -> None:
        super().__init__()
        self.early = network()[:7]
        self.last = network()[7:]
        self.detector = Distance(128, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.early(x)
        return self.last(features), self.detector(features)


def fit(module: nn.Module, ground: Ground) -> None:
    """The undefended network; means and covariance of training images; the threshold on held-out ones."""
    whole = network()
    whole.load_state_dict(ground.plain.state_dict())
    module.early.load_state_dict(whole[:7].state_dict())
    module.last.load_state_dict(whole[7:].state_dict())
    x, y = ground.x[:15000], ground.y[:15000]
    with torch.no_grad():
        features = torch.cat([module.early(part) for part in x.split(500)])
        means = torch.stack([features[y == label].mean(dim=0) for label in range(10)])
        apart = features - means[y]
        covariance = apart.T @ apart / len(apart)
        covariance += _RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance))
        module.detector.means.copy_(means)
        module.detector.whitening.copy_(torch.linalg.cholesky(torch.linalg.inv(covariance)))
        distances = torch.cat([module(part)[1] for part in ground.held_x.split(500)])
        module.detector.threshold.copy_(distances.quantile(1 - REFUSED))


DEFENCE = Defence(
    name="mahalanobis",
    paper="Mahalanobis distance (Lee et al. 2018)",
    build=Mahalanobis,
    fit=fit,
    authors=LEAST,
    by_hand=Aim("joint loss", lambda defended, _: both(defended), steps=100, restarts=2, fine=0.05, oblivious=False),
)
