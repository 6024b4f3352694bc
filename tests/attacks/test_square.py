"""What one random change of Square does to a point."""

import torch

from redoubt.attacks.evasion.square import squares_of
from redoubt.perturb import LinfBall

BALL = LinfBall(0.25, 0.0, 1.0)
MID = torch.full((1, 1, 8, 8), 0.5)


def changes(best, times=60):
    """Points after one change over the whole image, by different seeds."""
    draws = (squares_of(BALL, torch.Generator().manual_seed(seed)) for seed in range(times))
    return [draw.change(MID, best, 1.0) for draw in draws]


def test_a_square_goes_either_way_where_its_pixels_are_of_both_signs():
    """A square that always went against most of its pixels took twice the queries of the paper's."""
    best = MID + 0.25
    best[..., :3] -= 0.5  # most pixels are up
    ups = [bool((point == MID + 0.25).all()) for point in changes(best)]
    downs = [bool((point == MID - 0.25).all()) for point in changes(best)]
    assert all(up or down for up, down in zip(ups, downs, strict=True))
    assert min(sum(ups), sum(downs)) > 15


def test_a_square_never_changes_nothing():
    for point in changes(MID + 0.25):
        assert bool((point == MID - 0.25).all())


def test_at_the_wall_what_clipping_undoes_counts_as_nothing():
    x = torch.zeros(1, 1, 8, 8)
    for seed in range(20):
        draw = squares_of(BALL, torch.Generator().manual_seed(seed))
        assert bool((draw.change(x, x, 1.0) == 0.25).all())
