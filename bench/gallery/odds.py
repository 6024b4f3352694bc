"""Refuses answers whose logits change oddly under noise.

Roth, Kilcher, Hofmann 2019, "The odds are odd: a statistical test for detecting adversarial examples", section 3: for
the answer y and each other class z, the mean over noise of how much log-odds of z against y change, standardised by
mean and deviation over clean images answered y; refused where any z stands out.  Simplified: one kind of noise at one
strength, and no correction of the answer.  They measured it with PGD made on the network alone.  Broken by Tramer et
al. 2020 (section 5.4), who match the logits of clean images.
"""

import torch
from torch import Tensor, nn

from gallery.attack import UNDEFENDED, unseen
from gallery.defence import Aim, Defence, Ground
from gallery.network import network

DRAWS = 16
STRENGTH = 0.1
REFUSED = 0.05  # share of held-out training images


class Noise(nn.Module):
    """Noisy copies of images `[B, ...]`, all of them once and then again: `[draws * B, ...]`."""

    def __init__(self, draws: int, strength: float) -> None:
        super().__init__()
        self.draws, self.strength = draws, strength

    def forward(self, x: Tensor) -> Tensor:
        many = x.repeat(self.draws, 1, 1, 1)
        return many + self.strength * torch.randn_like(many)

    def extra_repr(self) -> str:
        return f"draws={self.draws}, strength={self.strength}"


class Odds(nn.Module):
    """Mean change of the log-odds of each class against the answer when noise is added, `[B, K]`."""

    def forward(self, logits: Tensor, noisy: Tensor) -> Tensor:
        change = noisy.view(-1, *logits.shape).mean(dim=0) - logits
        return change - change.gather(1, logits.argmax(dim=1)[:, None])


class Oddity(nn.Module):
    """How far the greatest change stands out of those of clean images with that answer, beyond the threshold."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(classes, classes))
        self.register_buffer("deviation", torch.ones(classes, classes))
        self.register_buffer("threshold", torch.tensor(0.0))

    def forward(self, odds: Tensor, logits: Tensor) -> Tensor:
        answers = logits.argmax(dim=1)
        standing = (odds - self.mean[answers]) / self.deviation[answers]
        return standing.scatter(1, answers[:, None], -torch.inf).amax(dim=1) - self.threshold


class OddsDefence(nn.Module):
    """Classify; refuse what noise moves oddly."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()
        self.noise = Noise(DRAWS, STRENGTH)
        self.odds = Odds()
        self.detector = Oddity(10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(x)
        return logits, self.detector(self.odds(logits, self.network(self.noise(x))), logits)


def fit(module: nn.Module, ground: Ground) -> None:
    """The undefended network; statistics of training images rightly answered; the threshold on held-out ones."""
    module.network.load_state_dict(ground.plain.state_dict())
    torch.manual_seed(0)
    x, y = ground.x[:5000], ground.y[:5000]
    with torch.no_grad():
        logits = torch.cat([module.network(part) for part in x.split(500)])
        noisy = [module.network(module.noise(part)) for part in x.split(500)]
        odds = torch.cat([module.odds(*parts) for parts in zip(logits.split(500), noisy, strict=True)])
        for answer in range(10):
            clean = odds[(logits.argmax(dim=1) == answer) & (y == answer)]
            module.detector.mean[answer] = clean.mean(dim=0)
            module.detector.deviation[answer] = clean.std(dim=0) + 1e-6
        suspicion = torch.cat([module(part)[1] for part in ground.held_x.split(500)])
        module.detector.threshold.copy_(suspicion.quantile(1 - REFUSED))


DEFENCE = Defence(
    name="odds",
    paper="Logit anomaly under noise (Roth et al. 2019)",
    build=OddsDefence,
    fit=fit,
    authors=UNDEFENDED,
    by_hand=Aim("joint loss", lambda defended, _: unseen(defended), steps=100, restarts=2, oblivious=False),
)
