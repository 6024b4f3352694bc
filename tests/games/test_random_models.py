"""The judge of a random model: what it mostly answers counts, not a lucky draw."""

import torch
from torch import Generator, nn

from redoubt.attacks.evasion import PGD
from redoubt.games.evasion import play_round
from redoubt.models import Face, TorchModel
from redoubt.perturb import LinfBall
from redoubt.records import Access, Budget


class Sometimes(nn.Module):
    """Answers class 1 with the given probability, whatever is asked."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = (torch.rand(len(x)) < self.share).float() + 0 * x[:, 0]
        return torch.stack([0.5 - one, one - 0.5], dim=1)


def fooled(share: float, examples: int = 200) -> float:
    model = TorchModel(Sometimes(share), Face((2,), 0.0, 1.0, classes=2))
    x, y = torch.full((examples, 2), 0.5), torch.zeros(examples, dtype=torch.int64)
    torch.manual_seed(0)
    played = play_round(
        model, PGD(steps=2), x, y, LinfBall(0.1, 0.0, 1.0), Access.GRADIENTS, Budget(), Generator().manual_seed(0)
    )
    return float(played.fooled.float().mean())


def test_a_lucky_draw_fools_nobody():
    assert fooled(0.3) == 0
    assert fooled(0.5) < 0.08


def test_what_is_nearly_always_wrong_is_fooled():
    assert fooled(0.97) > 0.9
    assert fooled(1.0) == 1
