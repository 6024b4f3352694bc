"""Public features are learnt once, the same after a kill, look at one image at a time, and say what they rest on."""

import pytest
import torch

from redoubt.bounds.privacy import (
    GaussianRelease,
    PrivacyLedger,
    describe_event,
    explain_spend,
    parse_ledger,
    spend,
    write_ledger,
)
from redoubt.harden.private.public import PublicCourse, learn_features
from redoubt.records import DataError, PolicyError, StorageError

SHORT = PublicCourse(epochs=2, seed=3)


def stripes(count=300, seed=0):
    """Images with stripes across or down, at any place."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 2
    place = torch.randint(0, 4, (count, 1, 1, 1), generator=rng)
    ramp = torch.arange(12)
    across = ((ramp.view(1, 1, -1, 1) + place) % 4 < 2).float().expand(count, 1, 12, 12)
    x = torch.where(y.view(-1, 1, 1, 1) == 0, across, across.transpose(2, 3))
    return x + 0.3 * torch.randn(x.shape, generator=rng), y


def learnt(folder, course=SHORT, heard=None):
    return learn_features(*stripes(), 2, "stripes", folder, course, heard)


def test_features_look_at_each_image_by_itself_and_halve_it_twice(tmp_path):
    x, _ = stripes(6, seed=1)
    found = learnt(tmp_path)
    assert found(x).shape == (6, 64, 3, 3)
    assert torch.allclose(found(x[2:3]), found(x)[2:3], atol=1e-5)
    assert learnt(tmp_path, PublicCourse(epochs=2, seed=3, layers=1))(x).shape == (6, 32, 6, 6)
    assert len(list(tmp_path.iterdir())) == 1  # one training, wherever its features are taken


def test_what_was_learnt_tells_apart_what_no_single_pixel_tells(tmp_path):
    found = learnt(tmp_path, PublicCourse(epochs=8))
    pooled = [(found(x).mean((2, 3)), y) for x, y in (stripes(), stripes(200, seed=9))]
    (x, y), (test, truth) = pooled
    means = torch.stack([x[y == label].mean(0) for label in (0, 1)])
    assert float((torch.cdist(test, means).argmin(1) == truth).float().mean()) > 0.9


def test_a_training_that_was_killed_comes_to_the_same_weights(tmp_path):
    def killed(epoch):
        raise KeyboardInterrupt

    whole, x = learnt(tmp_path / "whole"), stripes(6)[0]
    with pytest.raises(KeyboardInterrupt):
        learnt(tmp_path / "killed", heard=killed)
    epochs = []
    resumed = learnt(tmp_path / "killed", heard=epochs.append)
    assert epochs == [2]
    assert torch.equal(resumed(x), whole(x))
    assert resumed.name == whole.name
    learnt(tmp_path / "killed", heard=killed)  # nothing is left to learn


def test_another_seed_or_other_data_is_another_training(tmp_path):
    first = learnt(tmp_path)
    other = learnt(tmp_path, PublicCourse(epochs=2, seed=4))
    x, y = stripes()
    turned = learn_features(x, 1 - y, 2, "stripes", tmp_path, SHORT)
    assert len({first.name, other.name, turned.name}) == 3
    assert len(list(tmp_path.iterdir())) == 3
    assert first.events[0].digest == other.events[0].digest != turned.events[0].digest


def test_a_damaged_file_is_learnt_anew(tmp_path):
    x, first = stripes(6)[0], learnt(tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    epochs = []
    assert torch.equal(learnt(tmp_path, heard=epochs.append)(x), first(x))
    assert epochs == [1, 2]


def test_the_ledger_says_which_public_data_and_that_it_costs_nothing(tmp_path):
    steps = GaussianRelease(noise_multiplier=4.0)
    ledger = PrivacyLedger().plus(*learnt(tmp_path).events, steps)
    assert parse_ledger(write_ledger(ledger), "ledger.json") == ledger
    assert describe_event(ledger.events[0]) == "a training on public data: stripes (features)"
    spent = spend(ledger, 1e-5)
    assert spent.epsilon == spend(PrivacyLedger().plus(steps), 1e-5).epsilon
    assert "(stripes)" in " ".join(explain_spend(spent))
    assert "public" not in " ".join(explain_spend(spend(PrivacyLedger().plus(steps), 1e-5)))


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}, {"layers": 4}, {"seed": -1}]
)
def test_a_course_out_of_range_is_refused(wrong):
    with pytest.raises(PolicyError, match=next(iter(wrong))):
        PublicCourse(**wrong)


def test_public_data_that_does_not_fit_is_refused(tmp_path):
    x, y = stripes(10)
    for images in (x[:0], x[:, 0], x.double()):
        with pytest.raises(DataError, match="public inputs"):
            learn_features(images, y[: len(images)], 2, "stripes", tmp_path)
    for labels, classes in ((y[:5], 2), (y.float(), 2), (y, 1), (y - 1, 2)):
        with pytest.raises(DataError, match="labels"):
            learn_features(x, labels, classes, "stripes", tmp_path)
    with pytest.raises(DataError, match="not finite"):
        learn_features(*stripes(), 2, "stripes", tmp_path, PublicCourse(learning_rate=1e30))
    with pytest.raises(DataError, match="with as many channels"):
        learnt(tmp_path)(torch.rand(2, 3, 12, 12))


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        learnt(tmp_path / "file")
