"""Bundled sets, and balanced parts of sets."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from redoubt.data import SETS, load_data
from redoubt.data.take import balanced_rows
from redoubt.models import Face, nowhere
from redoubt.records import DataError, DataSource, Place

DIGITS = Face((1, 8, 8), 0.0, 1.0, classes=10)


def test_digits_are_cut_once_and_scaled() -> None:
    train, test = (
        load_data(DataSource(source=f"sklearn:digits/{p}"), DIGITS, Path(), nowhere) for p in ("train", "test")
    )
    assert len(train) + len(test) == 1797
    assert float(test.x.max()) == 1.0
    share = test.y.bincount() / (test.y.bincount() + train.y.bincount())
    assert ((share - 0.3).abs() < 0.01).all()
    together = torch.cat([train.x, test.x]).flatten(1).mul(16).round().int().tolist()
    assert sorted(together) == sorted(load_digits().data.astype(int).tolist())


@pytest.mark.parametrize(("name", "features", "classes"), [("iris", 4, 3), ("wine", 13, 3), ("breast_cancer", 30, 2)])
def test_tables_stand_for_themselves(name: str, features: int, classes: int) -> None:
    assert name in SETS
    face = Face((features,), 0.0, 5000.0, classes)
    data = load_data(DataSource(source=f"sklearn:{name}/test"), face, Path(), nowhere)
    assert data.x.shape[1] == features
    assert set(data.y.tolist()) == set(range(classes))
    assert float(data.x.max()) > 2.0
    with pytest.raises(DataError, match="outside the model's range") as caught:
        load_data(DataSource(source=f"sklearn:{name}/test"), Face((features,), 0.0, 1.0, classes), Path(), nowhere)
    assert caught.value.where == Place(f"sklearn:{name}/test")


def test_digits_fit_flat_and_folded_faces() -> None:
    flat, folded = (
        load_data(DataSource(source="sklearn:digits/test"), Face(shape, 0.0, 1.0, 10), Path(), nowhere)
        for shape in ((64,), (8, 8))
    )
    assert torch.equal(flat.x.flatten(1), folded.x.flatten(1))


def test_take_is_balanced_seeded_and_in_order() -> None:
    def take(count: int, seed: int) -> list[int]:
        data = load_data(DataSource(source="sklearn:digits/test", take=count, seed=seed), DIGITS, Path(), nowhere)
        assert len(data) == count
        return data.y.bincount(minlength=10).tolist()

    assert take(100, 0) == [10] * 10
    assert sorted(take(105, 1)) == [10] * 5 + [11] * 5
    digests = {
        load_data(DataSource(source="sklearn:digits/test", take=50, seed=s), DIGITS, Path(), nowhere).digest
        for s in (0, 0, 1)
    }
    assert len(digests) == 2


def test_taking_more_than_there_is_points_at_take() -> None:
    with pytest.raises(DataError, match="take: 9999, but sklearn:digits/test has 5") as caught:
        load_data(
            DataSource(source="sklearn:digits/test", take=9999), DIGITS, Path(), lambda key: Place(f"policy:{key}", 3)
        )
    assert caught.value.where == Place("policy:take", 3)
    assert "or less" in caught.value.remedy


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.data())
def test_as_even_as_the_classes_allow(labels: list[int], data: st.DataObject) -> None:
    y = np.array(labels)
    take = data.draw(st.integers(1, len(y)))
    rows = balanced_rows(y, take, data.draw(st.integers(0, 99)))
    assert len(rows) == take
    assert len(set(rows.tolist())) == take
    assert sorted(rows) == list(rows)
    sizes, taken = np.bincount(y, minlength=6), np.bincount(y[rows], minlength=6)
    # No class that could give more has fewer than another, by more than one.
    for short in np.flatnonzero(taken < sizes):
        assert taken[short] >= taken.max() - 1
