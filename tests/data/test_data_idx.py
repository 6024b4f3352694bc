"""IDX files: good ones are read, every damage is said."""

import gzip
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redoubt.data import load_data
from redoubt.data.idx import parse_idx
from redoubt.models import Face, nowhere
from redoubt.records import DataError, DataSource, Place, PolicyError

FACE = Face((1, 2, 2), 0.0, 1.0, classes=3)
SHARED = Path(os.environ.get("REDOUBT_DATA", Path(__file__).parents[2] / "../shared/data"))


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim])
    return head + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.astype(np.uint8).tobytes()


def write(folder: Path, x: bytes, y: bytes, suffix: str = "") -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"t10k-images-idx3-ubyte{suffix}").write_bytes(x)
    (folder / f"t10k-labels-idx1-ubyte{suffix}").write_bytes(y)


def test_bytes_are_mapped_onto_the_range(tmp_path: Path) -> None:
    pixels = np.array([[[0, 255], [51, 102]], [[255, 255], [0, 0]]])
    write(tmp_path / "set", idx(pixels), idx(np.array([2, 0])))
    data = load_data(DataSource(source="idx:set/test"), Face((1, 2, 2), -1.0, 1.0, 3), tmp_path, nowhere)
    assert data.x.dtype == torch.float32
    assert data.y.dtype == torch.int64
    assert torch.allclose(data.x[0], torch.tensor([[[-1.0, 1.0], [-0.6, -0.2]]]))
    assert data.y.tolist() == [2, 0]


def test_gzip_and_plain_are_the_same_data(tmp_path: Path) -> None:
    x, y = idx(np.arange(12).reshape(3, 2, 2)), idx(np.array([0, 1, 2]))
    write(tmp_path / "plain", x, y)
    write(tmp_path / "packed", gzip.compress(x), gzip.compress(y), ".gz")
    plain, packed = (
        load_data(DataSource(source=f"idx:{name}/test"), FACE, tmp_path, nowhere) for name in ("plain", "packed")
    )
    assert plain.digest == packed.digest
    assert plain.digest.startswith("sha256:")


def test_redoubt_data_is_the_second_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "set", idx(np.zeros((1, 2, 2))), idx(np.array([0])))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.delenv("REDOUBT_DATA", raising=False)
    with pytest.raises(DataError, match="REDOUBT_DATA"):
        load_data(DataSource(source="idx:set/test"), FACE, elsewhere, nowhere)
    monkeypatch.setenv("REDOUBT_DATA", str(tmp_path))
    assert len(load_data(DataSource(source="idx:set/test"), FACE, elsewhere, nowhere)) == 1


GOOD = idx(np.zeros((2, 2, 2)))


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (GOOD[:-1], idx(np.zeros(2)), "ends within"),
        (GOOD + b"\0", idx(np.zeros(2)), "goes on after"),
        (GOOD[:9], idx(np.zeros(2)), "ends within the sizes"),
        (b"", idx(np.zeros(2)), "ends within the magic number"),
        (idx(np.zeros(2)), idx(np.zeros(2)), "00 00 08 03"),
        (b"\0\0\x0d\x03" + GOOD[4:], idx(np.zeros(2)), "00 00 08 03"),
        (b"\0\0\x08\x03" + b"\xff" * 12, idx(np.zeros(2)), "more than"),
        (b"\0\0\x08\x03" + b"\0\0\x40\0" * 2 + b"\0\0\0\x08", idx(np.zeros(2)), "ends within"),
        (gzip.compress(GOOD, mtime=0)[:-9], idx(np.zeros(2)), "damaged gzip"),
        (b"\x1f\x8b" + b"x" * 30, idx(np.zeros(2)), "damaged gzip"),
        (GOOD, idx(np.zeros(3)), "2 inputs, but 3 labels"),
        (GOOD, idx(np.array([0, 3])), r"row 1: label 3 is not an integer in 0\.\.2"),
        (idx(np.zeros((0, 2, 2))), idx(np.zeros(0)), "empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage_is_said_with_the_file(tmp_path: Path, images: bytes, labels: bytes, said: str) -> None:
    write(tmp_path / "set", images, labels)
    with pytest.raises(DataError, match=said) as caught:
        load_data(DataSource(source="idx:set/test"), FACE, tmp_path, lambda *_: Place("policy.yaml", 9))
    assert caught.value.where == Place(str(tmp_path / "set" / "t10k-images-idx3-ubyte"))
    assert "policy.yaml:9" in caught.value.what
    assert caught.value.remedy


def test_a_missing_labels_file_is_named(tmp_path: Path) -> None:
    write(tmp_path / "set", GOOD, b"")
    (tmp_path / "set" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte: cannot be read"):
        load_data(DataSource(source="idx:set/test"), FACE, tmp_path, nowhere)


@pytest.mark.parametrize(
    "source", ["idx:set", "idx:set/valid", "idx:/test", "sqlite:set", "sklearn:mnist/test", "npz:"]
)
def test_unknown_forms_are_refused_with_the_known_ones(tmp_path: Path, source: str) -> None:
    with pytest.raises(PolicyError, match="idx:<folder>") as caught:
        load_data(DataSource(source=source), FACE, tmp_path, lambda *_: Place("policy.yaml", 3))
    assert caught.value.where == Place("policy.yaml", 3)


@given(st.binary(max_size=200), st.integers(1, 3))
def test_arbitrary_bytes_never_raise_anything_else(raw: bytes, rank: int) -> None:
    try:
        array = parse_idx(io.BytesIO(raw), rank)
    except DataError:
        return
    assert idx(array) == raw


@given(st.binary(max_size=40), st.integers(0, 60))
def test_a_sound_header_before_arbitrary_bytes(raw: bytes, cut: int) -> None:
    whole = bytes([0, 0, 8, 1]) + len(raw).to_bytes(4, "big") + raw
    assert parse_idx(io.BytesIO(whole), 1).tobytes() == raw
    if cut < len(whole):
        with pytest.raises(DataError):
            parse_idx(io.BytesIO(whole[:cut]), 1)


@pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="MNIST not found: set REDOUBT_DATA to its parent folder")
def test_mnist_as_published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REDOUBT_DATA", str(SHARED))
    face = Face((1, 28, 28), 0.0, 1.0, 10)
    data = load_data(DataSource(source="idx:mnist/test"), face, tmp_path, nowhere)
    assert data.y.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert round(float(data.x.mean()), 4) == 0.1325
    part = load_data(DataSource(source="idx:mnist/test", take=1000), face, tmp_path, nowhere)
    assert part.y.bincount().tolist() == [100] * 10
