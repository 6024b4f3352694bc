"""Whitening finds the poison that a class's own variation hides."""

import pytest
import torch
from torch import Generator

from redoubt.detectors.poison import Trained, spectral_removal, spectre_removal, spectre_scores


def hidden(share: float, seed: int = 0, size: int = 600) -> tuple[Trained, torch.Tensor]:
    """Two classes that vary widely in one direction by nature; in class 0, poison lies off in another, a bit."""
    rng = Generator().manual_seed(seed)
    features = torch.randn(2 * size, 24, generator=rng)
    features[:, 0] *= 12
    y = torch.arange(2 * size) % 2
    rows = torch.zeros(2 * size, dtype=torch.bool)
    rows[: 2 * round(share * size) : 2] = True
    features[rows, 5] += 7
    return Trained(features, torch.randn(2 * size, 2, generator=rng), y), rows


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_poison_is_found_where_spectral_signatures_see_the_class_itself(seed):
    seen, rows = hidden(0.1, seed)
    assert float(spectral_removal(seen, 0.1)[rows].double().mean()) < 0.4
    assert float(spectre_removal(seen, 0.1)[rows].double().mean()) > 0.95


def test_as_many_are_removed_as_by_spectral_signatures():
    seen, _ = hidden(0.1)
    out = spectre_removal(seen, 0.1)
    assert [int(out[seen.y == label].sum()) for label in (0, 1)] == [90, 90]


def test_scores_do_not_depend_on_how_a_class_is_scaled_or_placed():
    seen, rows = hidden(0.1)
    moved = Trained(3 * seen.features + 5, seen.logits, seen.y)
    own = seen.y == 0
    assert torch.equal(spectre_removal(moved, 0.1), spectre_removal(seen, 0.1))
    assert float(spectre_scores(seen, 0.1)[rows].median()) > 5 * float(spectre_scores(seen, 0.1)[own & ~rows].median())


def test_a_class_too_small_for_a_covariance_is_let_alone():
    seen, _ = hidden(0.1)
    few = Trained(seen.features[:10], seen.logits[:10], seen.y[:10])  # five of each class
    assert spectre_scores(few, 0.1).tolist() == [0.0] * 10


def test_features_that_never_vary_break_nothing():
    seen, rows = hidden(0.1)
    flat = Trained(torch.cat([seen.features, torch.ones(len(seen), 30)], dim=1), seen.logits, seen.y)
    assert float(spectre_removal(flat, 0.1)[rows].double().mean()) > 0.95
    still = Trained(torch.ones(20, 4), torch.zeros(20, 2), torch.arange(20) % 2)
    assert spectre_scores(still, 0.1).isfinite().all()


@pytest.mark.parametrize("share", [0.0, -0.1, 0.5])
def test_a_share_that_is_no_minority_is_refused(share):
    with pytest.raises(ValueError, match="no minority"):
        spectre_scores(hidden(0.1)[0], share)
