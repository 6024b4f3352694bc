"""The walk without gradients: through steps that no gradient crosses, past a detector, against a model that draws."""

import pytest
import torch
from torch import Tensor, nn

from redoubt.attacks.evasion.adaptive.climb import ASKED
from redoubt.attacks.evasion.adaptive.objectives import Aims, Scales
from redoubt.attacks.evasion.adaptive.walk import LEAST, walk
from redoubt.models import Face, TorchModel
from redoubt.models.meter import Metered
from redoubt.perturb import L1Ball, L2Ball, LinfBall
from redoubt.records import Access, Budget

FACE = Face((1, 6, 6), 0.0, 1.0, 2)
BALL = LinfBall(0.2, 0.0, 1.0)
COUNT = 6


class Stairs(nn.Module):
    """Class 1 where the mean of the pixels, counted in steps of 1/8 each, is above a half."""

    def forward(self, x: Tensor) -> Tensor:
        height = ((x * 8).floor() / 8).flatten(1).mean(dim=1) - 0.5
        return torch.stack([-height, height], dim=1)


class Alarmed(nn.Module):
    """The same; and a detector of uneven columns, which stripes set off."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return Stairs()(x), x.mean(dim=2).std(dim=2)[:, 0] - 0.05


class Drawn(nn.Module):
    """The same, through noise."""

    def forward(self, x: Tensor) -> Tensor:
        return Stairs()(x + 0.12 * torch.randn(len(x), 1, 1, 1))


def walked(module: nn.Module, within=BALL, passes: int = 400, *, random: bool = False):
    x = torch.full((COUNT, 1, 6, 6), 0.55)
    y = torch.zeros(COUNT, dtype=torch.int64)
    model = Metered(TorchModel(module, FACE), Access.GRADIENTS, Budget(passes=passes), COUNT)
    aims = Aims(y, Scales(0.1, 0.1), torch.ones(COUNT, 1, dtype=torch.int64), {})
    rng = torch.Generator().manual_seed(0)
    end = walk(model, x, torch.arange(COUNT), within, aims, passes, rng, random=random)
    return model, x, end


@pytest.mark.parametrize("within", [BALL, L2Ball(1.2, 0.0, 1.0)], ids=str)
def test_it_crosses_steps_that_have_no_gradient(within):
    model, x, end = walked(Stairs(), within)
    assert end is not None
    assert end.fooled.all()
    assert (end.height == 0).all()
    assert within.contains(x, end.points).all()
    assert (Stairs()(end.points).argmax(dim=1) == 1).all()
    assert int(model.meter.passes.max()) <= 400


def test_it_walks_where_every_first_step_is_refused():
    _, x, end = walked(Alarmed(), passes=1500)
    assert end is not None
    assert end.fooled.float().mean() >= 0.5
    logits, suspicion = Alarmed()(end.points[end.fooled])
    assert (logits.argmax(dim=1) == 1).all()
    assert (suspicion <= 0).all()
    assert BALL.contains(x, end.points).all()


def test_a_model_that_draws_is_fooled_for_good_or_not_at_all():
    torch.manual_seed(0)
    model, _, end = walked(Drawn(), passes=1500, random=True)
    assert end is not None
    assert end.fooled.any()
    again = torch.stack([Drawn()(end.points[end.fooled]).argmax(dim=1) for _ in range(400)]).double().mean(dim=0)
    assert (again >= 0.7).all()  # the judge wants three quarters of 20
    assert int(model.meter.passes.max()) <= 1500


def test_it_is_not_begun_with_too_few_passes_or_in_another_set():
    assert walked(Stairs(), passes=LEAST - 1)[2] is None
    assert walked(Stairs(), L1Ball(2.0, 0.0, 1.0))[2] is None
    assert walked(Drawn(), passes=ASKED, random=True)[2] is None
