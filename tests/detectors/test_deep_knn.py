"""Deep k-NN: exact neighbours, conformal credibility, explanations, and what is kept."""

import dataclasses

import faiss
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from redoubt.data import Dataset
from redoubt.data.load import digest_of
from redoubt.detectors import DeepKnn, Seen
from redoubt.detectors.conformance import DetectorConformance
from redoubt.detectors.nearest import Nearest
from redoubt.detectors.reduction import Reduction
from redoubt.models import TorchModel
from redoubt.records import DataError, ModelError
from watched_digits import FACE, SETTINGS, WatchedDigits


@pytest.fixture
def digits() -> WatchedDigits:
    return WatchedDigits.get()


class TestDeepKnn(DetectorConformance):
    def make(self):
        return WatchedDigits.get().knn

    def seen(self):
        x = WatchedDigits.get().x[:16]
        return WatchedDigits.get().seen(
            torch.cat([x, torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))])
        )


# ── neighbours ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("count", "k"), [(50, 50), (1000, 7), (4097, 20), (20_000, 50), (20_033, 1)])
@pytest.mark.parametrize("batch", [1, 17, 32, 50])
def test_neighbours_are_those_of_faiss(count, k, batch):
    rng = torch.Generator().manual_seed(count)
    points = F.normalize(torch.randn(count, 9, generator=rng))
    queries = F.normalize(torch.randn(batch, 9, generator=rng))
    index = faiss.IndexFlatIP(9)
    index.add(points.numpy())
    expected, where = index.search(queries.numpy(), k)
    similar, found = Nearest(points).search(queries, k)
    order = similar.argsort(dim=1, descending=True)
    assert np.allclose(similar.gather(1, order).numpy(), expected, atol=1e-6)
    assert (found.gather(1, order).numpy() == where).mean() > 0.999  # but for ties
    assert found.max() < count


def test_neighbours_of_queries_unlike_all_points_are_points_still():
    points = F.normalize(torch.rand(5000, 4, generator=torch.Generator().manual_seed(0)))
    similar, where = Nearest(points).search(-points[:3], 10)
    assert (similar < 0).all()
    assert (where < 5000).all()


@pytest.mark.parametrize("size", [6, 300])
def test_reduction_keeps_what_it_can_and_says_what_it_lost(size):
    rng = torch.Generator().manual_seed(0)
    inside = torch.randn(100, 3, generator=rng) @ torch.randn(3, size, generator=rng)
    reduction = Reduction.fit(inside, 3)
    vectors = reduction(inside)
    centred = inside - inside.mean(dim=0)
    cosines = F.normalize(centred) @ F.normalize(centred).T
    assert torch.allclose(vectors @ vectors.T, cosines, atol=1e-3)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(100))
    assert vectors[:, -1].max() < 0.01
    assert reduction(inside + 5 * torch.randn(100, size, generator=rng))[:, -1].median() > 0.3
    assert torch.allclose(reduction.basis.T @ reduction.basis, torch.eye(3), atol=1e-5)


def test_reduction_of_one_constant_output_stays_finite():
    constant = torch.ones(20, 5)
    assert Reduction.fit(constant, 3)(constant).isfinite().all()


# ── credibility ──────────────────────────────────────────────────────────────────────────────────────────────────


def naive(digits: WatchedDigits, seen: Seen) -> tuple[list[float], list[float]]:
    """Section 4 of the paper, one input and one label at a time."""
    knn, k = digits.knn, SETTINGS.neighbours
    credibilities, confidences = [], []
    for row in range(len(seen.x)):
        p = []
        for label in range(10):
            nonconformity = 0.0
            for name, layer in knn.layers.items():
                vector = layer.reduction(seen.features[name][row : row + 1])[0]
                similar = (layer.nearest.points @ vector).tolist()
                nearest = sorted(range(len(similar)), key=lambda at, similar=similar: -similar[at])[:k]
                nonconformity += 1e-3 * (1 - sum(similar[at] for at in nearest) / k) / 2
                nonconformity += sum(not (int(knn.labels[at]) == label and similar[at] >= layer.near) for at in nearest)
            worse = sum(value >= nonconformity for value in knn.calibration.tolist())
            p.append(worse / len(knn.calibration))
        credibilities.append(p[int(seen.scores[row].argmax())])
        confidences.append(1 - sorted(p)[-2])
    return credibilities, confidences


def test_signals_are_those_of_the_paper(digits):
    strange = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    turned = digits.x[:14].rot90(1, (2, 3))
    seen = digits.seen(torch.cat([digits.x[:10], turned, strange]))
    found = digits.knn.look(seen)
    credibility, confidence = naive(digits, seen)
    assert found["credibility"].tolist() == pytest.approx(credibility, abs=1.01 / SETTINGS.calibration)
    assert found["knn_confidence"].tolist() == pytest.approx(confidence, abs=1.01 / SETTINGS.calibration)
    assert 0 < np.mean(credibility) < 1


@pytest.mark.parametrize("batch", [1, 5, 40])
def test_selecting_by_blocks_changes_no_credibility_and_no_neighbour(digits, monkeypatch, batch):
    seen = digits.seen(torch.cat([digits.x[:batch], torch.rand(batch, 1, 8, 8)]))
    whole = digits.knn.look(seen)
    monkeypatch.setattr("redoubt.detectors.nearest._SMALL", 0)
    blocks = digits.knn.look(seen)
    for name, values in whole.items():
        assert torch.equal(values, blocks[name])
    for layer in digits.knn.layers.values():
        index = faiss.IndexFlatIP(layer.nearest.points.shape[1])
        index.add(layer.nearest.points.contiguous().numpy())
        vectors = layer.nearest.points[::37]
        expected, _ = index.search(vectors.contiguous().numpy(), SETTINGS.neighbours)
        found = layer.nearest.search(vectors, SETTINGS.neighbours)[0].sort(dim=1, descending=True).values
        assert np.allclose(found.numpy(), expected, atol=1e-5)


def test_features_that_are_not_finite_have_no_credibility(digits):
    seen = digits.seen(digits.x[:4])
    for row, value in enumerate((torch.nan, torch.inf, -torch.inf)):
        seen.features["4"][row, 3] = value
    credibility = digits.knn.look(seen)["credibility"]
    assert credibility[:3].isnan().all()
    assert not credibility[3].isnan()


def test_calibration_examples_are_no_neighbours_and_their_credibility_is_uniform_enough(digits):
    held = torch.ones(len(digits.train), dtype=torch.bool)
    held[digits.knn.rows] = False
    assert held.sum() == SETTINGS.calibration
    seen = digits.seen(digits.train.x[held])
    right = seen.scores.argmax(dim=1) == digits.train.y[held]
    credibility = digits.knn.look(seen)["credibility"][right]
    for bound in (0.05, 0.1, 0.3):  # a p-value of calibration examples themselves: at most the bound fall below it
        assert (credibility < bound).double().mean() <= bound + 1 / SETTINGS.calibration


def test_new_digits_are_credible_and_noise_and_turned_digits_less(digits):
    clean = digits.knn.look(digits.seen(digits.x))["credibility"]
    noise = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    turned = digits.x[:200].rot90(1, (2, 3))
    assert (clean < 0.1).double().mean() < 0.2
    assert (digits.knn.look(digits.seen(noise))["credibility"] < 0.1).double().mean() > 0.9
    assert (digits.knn.look(digits.seen(turned))["credibility"] < 0.1).double().mean() > 0.35


def test_a_wrong_answer_is_less_credible_than_the_right_one(digits):
    seen = digits.seen(digits.x[:100])
    wrong = dataclasses.replace(seen, scores=seen.scores.roll(1, dims=1))
    assert digits.knn.look(wrong)["credibility"].mean() < 0.02
    assert digits.knn.look(seen)["credibility"].mean() > 0.4


def test_the_explanation_is_the_nearest_training_examples(digits):
    rows = digits.knn.rows[[5, 700, 33]]
    found, similar = digits.knn.neighbours(digits.seen(digits.train.x[rows]).features, 4)
    assert found[:, 0].tolist() == rows.tolist()
    assert torch.allclose(similar[:, 0], torch.ones(3), atol=1e-5)
    assert (similar.diff(dim=1) <= 0).all()
    near, _ = digits.knn.neighbours(digits.seen(digits.x[:200]).features, 1)
    answered = digits.seen(digits.x[:200]).scores.argmax(dim=1)
    assert (digits.train.y[near[:, 0]] == answered).double().mean() > 0.95


# ── fitting ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_progress_is_told_to_the_end(digits):
    told = []
    DeepKnn.fit(digits.model, digits.train, SETTINGS, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (1200, 1200)
    assert told == sorted(told)


def test_what_was_learnt_is_kept_and_read_back(digits, tmp_path):
    first = DeepKnn.fit(digits.model, digits.train, SETTINGS, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.suffix == ".safetensors"
    told = []
    again = DeepKnn.fit(
        digits.model, digits.train, SETTINGS, cache=tmp_path, progress=lambda done, total: told.append(done)
    )
    assert told == [1200]  # nothing was learnt again
    seen = digits.seen(digits.x[:50])
    for name, values in first.look(seen).items():
        assert torch.equal(values, again.look(seen)[name])


@pytest.mark.parametrize(
    "change",
    [{"neighbours": 14}, {"calibration": 201}, {"dimensions": 13}, {"layers": ("4",)}],
)
def test_other_settings_are_kept_apart(digits, tmp_path, change):
    DeepKnn.fit(digits.model, digits.train, SETTINGS, cache=tmp_path)
    DeepKnn.fit(digits.model, digits.train, SETTINGS.model_copy(update=change), cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_other_data_and_models_are_kept_apart(digits, tmp_path):
    DeepKnn.fit(digits.model, digits.train, SETTINGS, cache=tmp_path)
    fewer = Dataset(
        digits.train.x[:-1], digits.train.y[:-1], "digits", digest_of(digits.train.x[:-1], digits.train.y[:-1])
    )
    DeepKnn.fit(digits.model, fewer, SETTINGS, cache=tmp_path)
    torch.manual_seed(1)
    other = TorchModel(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 10)), FACE)
    DeepKnn.fit(other, digits.train, SETTINGS, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("damage", ["cut", "empty", "pickle", "foreign"])
def test_a_damaged_or_foreign_file_is_learnt_anew(digits, tmp_path, damage):
    DeepKnn.fit(digits.model, digits.train, SETTINGS, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    raw = file.read_bytes()
    if damage == "cut":
        file.write_bytes(raw[: len(raw) // 2])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "pickle":
        torch.save({"calibration": torch.zeros(3)}, file)
    else:
        save_file(load_file(file), file, metadata={"key": "sha256:another"})
    told = []
    DeepKnn.fit(digits.model, digits.train, SETTINGS, cache=tmp_path, progress=lambda done, total: told.append(done))
    assert len(told) > 1
    assert file.read_bytes() == raw  # learning is deterministic, and the good file is back


def test_too_few_examples_are_refused_with_a_remedy(digits):
    few = Dataset(digits.train.x[:300], digits.train.y[:300], "digits", "sha256:0")
    with pytest.raises(DataError, match="300 examples") as caught:
        DeepKnn.fit(digits.model, few, SETTINGS)
    assert "calibration: 60" in caught.value.remedy


def test_unknown_layers_are_refused(digits):
    with pytest.raises(ModelError, match="no layer 'conv9'"):
        DeepKnn.fit(digits.model, digits.train, SETTINGS.model_copy(update={"layers": ("conv9",)}))
