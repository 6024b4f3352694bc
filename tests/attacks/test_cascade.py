"""The cascade at budgets that its turns do not fit, and what it keeps of copies."""

import pytest
import torch

from redoubt.attacks.evasion import Cascade
from redoubt.attacks.evasion.cascade import _Field
from redoubt.attacks.evasion.glass import Glass
from redoubt.games import play_round
from redoubt.models.meter import Metered
from redoubt.perturb import L1Ball, LinfBall
from redoubt.records import Access, Budget

GLASS = Glass()
SMALL = 1e-4  # nobody falls


def spent(within, budget):
    x, y = GLASS.images(6)
    rng = torch.Generator().manual_seed(0)
    played = play_round(GLASS.model(), Cascade(), x, y, within, Access.GRADIENTS, Budget(passes=budget), rng)
    assert played.broke is None
    assert not played.fooled.any()
    return played.meter.passes


@pytest.mark.parametrize("budget", [1, 2, 3, 85, 86, 91, 95])
def test_at_most_three_passes_of_a_budget_are_left_in_a_ball_of_random_changes(budget):
    left = budget - spent(LinfBall(SMALL, 0.0, 1.0), budget)
    assert (left >= 0).all()
    assert (left <= 3).all()


@pytest.mark.parametrize("budget", [1, 7, 213])
def test_where_all_is_climbed_it_ends_with_less_than_a_slope_of_each_climb(budget):
    left = budget - spent(L1Ball(SMALL, 0.0, 1.0), budget)
    assert (left >= 0).all()
    assert (left <= 7).all()


def field():
    x, y = GLASS.images(2)
    model = Metered(GLASS.model(), Access.GRADIENTS, Budget(), 2)
    return x, _Field(model, x, y, LinfBall(0.1, 0.0, 1.0), 100, torch.Generator().manual_seed(0))


def test_of_the_copies_of_an_example_the_best_is_kept():
    x, state = field()
    point = torch.cat([x + 0.01, x + 0.02, x + 0.03])  # copies of examples 0 and 1, in turn
    gain = torch.tensor([-3.0, -1.0, -2.0, -5.0, torch.nan, -4.0])
    state._note(torch.tensor([0, 1]), point, gain, torch.zeros(6, dtype=torch.bool))
    assert torch.equal(state.points, torch.stack([x[0] + 0.02, x[1] + 0.01]))
    assert state.best.tolist() == [-2.0, -1.0]


def test_a_copy_that_fools_is_kept_over_a_better_margin_that_was_refused():
    x, state = field()
    point = torch.cat([x + 0.01, x + 0.02])
    fooled = torch.tensor([False, False, True, False])
    state._note(torch.tensor([0, 1]), point, torch.tensor([9.0, -1.0, 0.1, -2.0]), fooled)
    assert torch.equal(state.points, torch.stack([x[0] + 0.02, x[1] + 0.01]))
    assert state.most_hopeful(2).tolist() == [1]
