"""Features look at one record at a time, or say what it cost; a cached file is what was computed, or is refused."""

import numpy as np
import pytest
import torch

from redoubt.harden.private.cache import cached_features
from redoubt.harden.private.normalise import group_norm, noised_centre, noised_statistics
from redoubt.harden.private.scattering import Scattering
from redoubt.records import DataError, PolicyError


def images(count=6):
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def test_scattering_has_its_shape_and_looks_at_each_image_by_itself():
    x = images()
    features = Scattering()(x)
    assert features.shape == (6, 81, 7, 7)
    assert Scattering().channels((1, 28, 28)) == 81
    assert torch.allclose(Scattering()(x[2:3]), features[2:3], atol=1e-6)
    # The first channel is the image averaged over four pixels, so it moves as the image moves.
    assert float((features[:, 0] - torch.nn.functional.avg_pool2d(x, 4)[:, 0]).abs().mean()) < 0.1


@pytest.mark.parametrize("x", [torch.rand(3, 28, 28), torch.rand(2, 1, 3, 28)])
def test_scattering_refuses_what_is_no_image_or_too_small(x):
    with pytest.raises(DataError, match="images"):
        Scattering()(x)


def test_group_norm_looks_at_each_row_by_itself_and_brings_it_to_scale():
    x = torch.randn(5, 6, 4, 4) * 3 + 2
    normalised = group_norm(x, 3)
    assert torch.allclose(normalised[1:2], group_norm(x[1:2], 3))
    each = normalised.view(5, 3, -1)
    assert torch.allclose(each.mean(2), torch.zeros(5, 3), atol=1e-5)
    assert torch.allclose(each.var(2, unbiased=False), torch.ones(5, 3), atol=1e-3)
    with pytest.raises(DataError, match="4 groups"):
        group_norm(x, 4)


def test_noised_statistics_are_near_the_true_ones_and_leave_two_releases():
    x = torch.randn(4000, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * 2 + 1
    found = noised_statistics(x, 20.0, 200.0, 1.0, insecure_seed=0)
    assert torch.allclose(found.mean, x.mean((0, 2, 3)), atol=0.05)
    assert torch.allclose(found.variance, x.var((0, 2, 3)), atol=0.3)
    (event,) = found.events
    assert (event.noise_multiplier, event.times) == (1.0, 2)
    standard = found.standardise(x)
    assert float(standard.mean()) == pytest.approx(0, abs=0.1)
    assert float(standard.std()) == pytest.approx(1, abs=0.1)


def test_one_record_moves_the_statistics_by_no_more_than_the_bound():
    x = torch.randn(50, 3, 2, 2)
    far = x.clone()
    far[7] = 1e4
    quiet = {"noise_multiplier": 1.0, "insecure_seed": 0}
    near, moved = (noised_statistics(each, 2.0, 4.0, **quiet) for each in (x, far))
    # Replaced, so twice the bound; over 50 records.
    assert float((near.mean - moved.mean).norm()) <= 2 * 2.0 / 50 * 1.001


def test_the_noised_centre_has_noise_of_its_scale_and_no_row_moves_it_further_than_the_bound():
    x = torch.zeros(100, 20000)
    found = noised_centre(x, 3.0, 5.0)
    assert float(found.mean.std()) == pytest.approx(5.0 * 3.0 / 100, rel=0.05)
    (event,) = found.events
    assert (event.noise_multiplier, event.times) == (5.0, 1)
    far = x.clone()
    far[3] = 1e3
    near, moved = (noised_centre(each, 3.0, 5.0, insecure_seed=0).mean for each in (x, far))
    assert float((near - moved).norm()) == pytest.approx(3.0 / 100, rel=1e-3)
    assert torch.equal(found.centre(x), -found.mean.expand(100, -1))


def test_statistics_without_noise_or_bounds_are_refused():
    x = torch.randn(5, 3, 2, 2)
    for wrong in ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0)):
        with pytest.raises(PolicyError, match="above 0"):
            noised_statistics(x, *wrong)
    with pytest.raises(DataError, match="not finite"):
        noised_statistics(x.index_fill(0, torch.tensor([1]), float("inf")), 1.0, 1.0, 1.0)


def test_features_are_computed_once_and_no_file_stands_for_another(tmp_path):
    calls = []

    def doubled(x):
        calls.append(len(x))
        return x * 2

    x = torch.randn(10, 3)
    first = cached_features(tmp_path, x, "sha256:a", "doubled", doubled, block=4)
    assert torch.equal(first, x * 2)
    assert calls == [1, 4, 4, 2]
    first[0] = 7  # a private copy
    assert torch.equal(cached_features(tmp_path, x, "sha256:a", "doubled", doubled), x * 2)
    assert calls == [1, 4, 4, 2]
    cached_features(tmp_path, x, "sha256:b", "doubled", doubled)
    cached_features(tmp_path, x, "sha256:a", "doubled twice", doubled)
    assert len(list(tmp_path.iterdir())) == 3


def test_features_that_were_killed_half_way_are_not_taken_for_whole(tmp_path):
    x = torch.randn(10, 3)

    def killed(part):
        if len(part) > 1:
            raise KeyboardInterrupt
        return part

    with pytest.raises(KeyboardInterrupt):
        cached_features(tmp_path, x, "sha256:a", "same", killed, block=4)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [lambda raw: raw[:-5], lambda raw: b"", lambda raw: b"\x80\x04" + raw])
def test_a_damaged_file_of_features_is_refused(tmp_path, damage):
    x = torch.randn(10, 3)
    cached_features(tmp_path, x, "sha256:a", "same", lambda part: part)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError) as caught:
        cached_features(tmp_path, x, "sha256:a", "same", lambda part: part)
    assert caught.value.remedy == "delete it"


def test_a_pickle_in_the_place_of_features_is_not_read(tmp_path):
    x = torch.randn(10, 3)
    cached_features(tmp_path, x, "sha256:a", "same", lambda part: part)
    (path,) = tmp_path.iterdir()
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="no file of features"):
        cached_features(tmp_path, x, "sha256:a", "same", lambda part: part)
