"""Torch models with a detector: (logits, suspicion), refused where the suspicion is above 0."""

import pytest
import torch
from torch import nn

from redoubt.attacks.evasion import APGD, PGD, Square
from redoubt.games.evasion import play, play_round
from redoubt.models import Face, Metered, TorchModel, examine, nowhere, unstable_share
from redoubt.perturb import LinfBall
from redoubt.records import Access, Budget, ModelError

FACE = Face((2,), 0.0, 1.0, classes=2)


class Watched(nn.Module):
    """Class 1 where the first number is above a half; refuses where the second is above `limit`."""

    def __init__(self, limit: float = 0.5) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = 10 * (x[:, 0] - 0.5)
        return torch.stack([-z, z], dim=1), x[:, 1] - self.limit


class Says(nn.Module):
    """Gives whatever suspicion it is told to."""

    def __init__(self, suspicion: object) -> None:
        super().__init__()
        self.suspicion = suspicion

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, object]:
        return torch.stack([-x[:, 0], x[:, 0]], dim=1), self.suspicion


def test_a_suspicion_above_0_refuses_and_shows_nothing():
    model = TorchModel(Watched(), FACE)
    answer = model.query(torch.tensor([[0.9, 0.4], [0.9, 0.6], [0.1, 0.5]]))
    assert answer.labels.tolist() == [1, -1, 0]
    assert answer.refused.tolist() == [False, True, False]
    assert answer.scores is not None
    assert answer.scores[1].isnan().all()
    assert answer.scores[[0, 2]].isfinite().all()
    assert list(answer.reasons) == [1]


def test_a_suspicion_of_nan_refuses():
    model = TorchModel(Says(torch.tensor([torch.nan, -1.0])), FACE)
    assert model.query(torch.rand(2, 2)).refused.tolist() == [True, False]


@pytest.mark.parametrize("suspicion", ["high", torch.zeros(3), torch.zeros(2, 2), torch.zeros(2, dtype=torch.int64)])
def test_a_suspicion_that_is_not_one_float_per_input_is_an_error(suspicion):
    with pytest.raises(ModelError, match="suspicion"):
        TorchModel(Says(suspicion), FACE).query(torch.rand(2, 2))


def test_a_refusal_is_no_right_answer_and_no_fooling():
    """Whoever is refused unperturbed was not answered rightly; whoever is refused when perturbed is not fooled."""
    x, y = torch.tensor([[0.55, 0.2], [0.55, 0.9]]), torch.tensor([1, 1])
    calm, nervous = TorchModel(Watched(), FACE), TorchModel(Watched(limit=0.0), FACE)
    attacks, ball = [PGD(), APGD(), Square(queries=50)], LinfBall(0.1, 0.0, 1.0)
    assert play(calm, [], x, y, ball).tolist() == [True, False]
    assert play(calm, attacks, x, y, ball).tolist() == [False, False]
    for attack in attacks:
        rng = torch.Generator().manual_seed(0)
        played = play_round(nervous, attack, x, y, ball, Access.GRADIENTS, Budget(), rng)
        assert not played.fooled.any()


def test_a_slope_knows_the_suspicion_and_can_climb_down_from_it():
    handle = Metered(TorchModel(Watched(), FACE), Access.GRADIENTS, Budget(), 1)
    x, y = torch.tensor([[0.4, 0.6]]), torch.tensor([1])
    slope = handle.slope(x, lambda z: z[:, 0], joint=lambda s: -s.suspicion)
    assert slope.gradient.tolist() == [[0.0, -1.0]]
    assert not slope.fooled(y).any()
    assert slope._replace(suspicion=torch.tensor([-0.1])).fooled(y).all()
    assert not handle.scored(x).fooled(y).any()
    assert int(handle.meter.passes[0]) == 3


def test_refused_rows_pass_for_healthy_ones():
    model = TorchModel(Watched(), FACE)
    x = torch.rand(64, 2, generator=torch.Generator().manual_seed(0))
    assert model.query(x).refused.any()
    examine(model, x, "logits", nowhere)
    assert unstable_share(model, x) == 0.0
