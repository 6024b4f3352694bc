"""The k-NN label check: wrong labels are left out, right ones are kept."""

import pytest
import torch
from torch import Generator

from redoubt.data import Dataset, digest_of
from redoubt.detectors.poison.label_check import agreeing, kept_rows, passing, votes
from redoubt.records import DataError


def clusters(count=300, seed=0):
    rng = Generator().manual_seed(seed)
    y = torch.arange(count) % 3
    return 4 * torch.eye(3, 8)[y] + torch.randn(count, 8, generator=rng), y


def test_votes_are_of_the_k_nearest_others():
    """Beside the definition, row by row."""
    features, y = clusters(60)
    found = votes(features, y, 3, 5)
    unit = torch.nn.functional.normalize(features, dim=1)
    for row in range(60):
        near = (unit @ unit[row]).masked_fill(torch.arange(60) == row, -2).topk(5).indices
        assert found[row].tolist() == torch.bincount(y[near], minlength=3).tolist()


def test_flipped_labels_are_left_out_and_hardly_any_other():
    features, y = clusters()
    flipped = torch.zeros(300, dtype=torch.bool)
    flipped[::30] = True
    wrong = torch.where(flipped, (y + 1) % 3, y)
    kept = agreeing(features, wrong, 3, 15)
    assert not kept[flipped].any()
    assert kept[~flipped].float().mean() > 0.95
    assert agreeing(features, y, 3, 15).float().mean() > 0.95


def test_a_row_among_more_equals_than_neighbours_still_has_k_votes():
    features = torch.ones(20, 4)
    assert (votes(features, torch.zeros(20, dtype=torch.int64), 2, 3).sum(dim=1) == 3).all()


def test_what_passes_is_what_the_check_would_keep():
    """The votes for a row do not depend on its own label."""
    features, y = clusters(90)
    may = passing(features, y, 3, 9)
    for row in range(0, 90, 7):
        for label in range(3):
            other = y.clone()
            other[row] = label
            assert bool(agreeing(features, other, 3, 9)[row]) == bool(may[row, label])


def test_too_few_rows_are_refused():
    features, y = clusters(9)
    with pytest.raises(DataError, match="9 neighbours among 9 rows"):
        votes(features, y, 3, 9)
    with pytest.raises(DataError, match="no row is kept"):
        kept_rows(Dataset(features, y, "", digest_of(features, y)), torch.zeros(9, dtype=torch.bool))
