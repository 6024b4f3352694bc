"""Minimum-norm attacks, run to their end on a linear model whose nearest wrong answers are known exactly."""

import pytest
import torch

from redoubt.attacks.evasion import FMN, CarliniWagner, DeepFool, SigmaZero
from redoubt.attacks.evasion.glass import Glass
from redoubt.games import play_round
from redoubt.perturb import L0Ball, L1Ball, L2Ball, LinfBall
from redoubt.records import Access, Budget

GLASS = Glass()
LINF, L2, L1, L0 = LinfBall(0.1, 0.0, 1.0), L2Ball(0.1, 0.0, 1.0), L1Ball(0.1, 0.0, 1.0), L0Ball(1, 0.0, 1.0)


def played(attack, ball, count=8):
    """Distances of what the attack finds, and the images `[count, 64]` with labels."""
    x, y = GLASS.images(count)
    whole = ball.whole(x.shape[1:])
    rng = torch.Generator().manual_seed(0)
    result = play_round(GLASS.model(), attack, x, y, whole, Access.GRADIENTS, Budget(), rng)
    assert result.broke is None
    assert result.fooled.all()
    return result.size * whole.radius, x.flatten(1), y


def nearest(ball, x, y):
    """The exact least distance: of a linear model inside the range, towards each class in turn."""
    weight = GLASS.weight()
    logits = x @ weight.T
    least = torch.full((len(x),), torch.inf)
    for target in range(GLASS.classes):
        for row in range(len(x)):
            if target == y[row]:
                continue
            normal, gap = weight[target] - weight[y[row]], float(logits[row, y[row]] - logits[row, target])
            least[row] = min(float(least[row]), _least(ball, normal, gap, x[row]))
    return least


def _least(ball, normal, gap, x):
    if not isinstance(ball, L0Ball):  # small moves stay inside the range here
        return gap / float(ball.dual(normal[None]))
    gains = (torch.where(normal > 0, 1 - x, -x) * normal).sort(descending=True).values.cumsum(0)
    return 1 + int((gains < gap).sum())


@pytest.mark.parametrize(
    ("attack", "ball", "slack"),
    [
        (FMN(nearest=True), LINF, 1.01),
        (FMN(nearest=True), L2, 1.02),
        (FMN(nearest=True), L1, 1.05),
        (FMN(nearest=True), L0, 1.0),
        (SigmaZero(nearest=True), L0, 6.0),
        (DeepFool(), LINF, 1.03),
        (DeepFool(), L2, 1.03),
        (DeepFool(), L1, 1.03),
        (CarliniWagner(nearest=True), L2, 1.05),
    ],
)
def test_the_nearest_wrong_answer_of_a_linear_model_is_found(attack, ball, slack):
    found, x, y = played(attack, ball)
    exact = nearest(ball, x, y)
    assert (found >= exact * (1 - 1e-3)).all()
    assert (found <= exact * slack + 1e-6).all()


def test_a_run_to_the_end_ignores_the_radius_and_a_run_in_the_game_stops_at_it():
    x, y = GLASS.images(8)
    ball, rng = LinfBall(0.25, 0.0, 1.0), torch.Generator().manual_seed(0)
    stopped, through = (
        play_round(GLASS.model(), FMN(nearest=way), x, y, ball, Access.GRADIENTS, Budget(), rng)
        for way in (False, True)
    )
    assert stopped.fooled.all()
    assert through.fooled.all()
    assert int(stopped.meter.passes.max()) < int(through.meter.passes.min())
    assert float(through.size.mean()) < float(stopped.size.mean())
