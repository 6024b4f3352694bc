"""NumPy archives: what is mapped, what is refused, and that nothing is unpickled."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from redoubt.data import load_data
from redoubt.models import Face, nowhere
from redoubt.records import DataError, DataSource, Place

TABLE = Face((3,), 0.0, 1.0, classes=2)
PLACE = Place("policy.yaml", 7, 9)


def load(path: Path, face: Face = TABLE) -> "tuple[torch.Tensor, torch.Tensor]":
    data = load_data(DataSource(source=f"npz:{path.name}"), face, path.parent, lambda *_: PLACE)
    return data.x, data.y


def archive(folder: Path, **arrays: object) -> Path:
    np.savez(folder / "data.npz", **arrays)  # type: ignore[arg-type]
    return folder / "data.npz"


def test_floats_stay_as_they_are(tmp_path: Path) -> None:
    values = np.array([[0.0, 0.5, 1.0], [0.25, 0.75, 1.0]])
    x, y = load(archive(tmp_path, x=values, y=np.array([0.0, 1.0])))
    assert np.array_equal(x.numpy(), values.astype(np.float32))
    assert y.tolist() == [0, 1]


def test_byte_images_are_scaled_and_turned_to_channels_first(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    x, _ = load(archive(tmp_path, x=pixels, y=np.zeros(4)), Face((3, 5, 6), 0.0, 1.0, 2))
    assert torch.allclose(x, torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)
    assert float(x.max()) <= 1.0


def test_a_table_of_bytes_stands_for_itself(tmp_path: Path) -> None:
    bits = np.array([[0, 1, 1]], dtype=np.uint8)
    x, _ = load(archive(tmp_path, x=bits, y=[0]))
    assert x.tolist() == [[0.0, 1.0, 1.0]]


def test_flattened_byte_images_are_images_to_an_image_model(tmp_path: Path) -> None:
    x, _ = load(archive(tmp_path, x=np.full((1, 4), 255, np.uint8), y=[0]), Face((1, 2, 2), 0.0, 1.0, 2))
    assert x.tolist() == [[[[1.0, 1.0], [1.0, 1.0]]]]


def test_the_edge_of_the_range_is_inside_in_float32(tmp_path: Path) -> None:
    x, _ = load(archive(tmp_path, x=np.array([[0.0, 0.1, 0.05]]), y=[0]), Face((3,), 0.0, 0.1, 2))
    assert float(x.max()) == np.float32(0.1)


GOOD = np.full((3, 3), 0.5)


def spoilt(value: float) -> np.ndarray:
    array = GOOD.copy()
    array[2, 1] = value
    return array


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (spoilt(np.nan), [0, 1, 0], r"row 2: x\[1\] is nan"),
        (spoilt(np.inf), [0, 1, 0], r"row 2: x\[1\] is inf"),
        (spoilt(1.5), [0, 1, 0], r"row 2: x\[1\] is 1\.5, outside the model's range 0\.\.1"),
        (spoilt(-0.01), [0, 1, 0], r"row 2: x\[1\] is -0\.01"),
        (GOOD, [0, 2, 5], r"row 1: label 2 is not an integer in 0\.\.1 \(2 of 3 rows"),
        (GOOD, [0, -1, 0], "row 1: label -1"),
        (GOOD, [0, 0.5, 0], r"row 1: label 0\.5"),
        (GOOD, [0, np.nan, 0], "row 1: label nan"),
        (GOOD, [[0, 1], [1, 0], [0, 1]], "one integer per example"),
        (GOOD, ["a", "b", "a"], "one integer per example"),
        (GOOD, [0, 1], "3 inputs, but 2 labels"),
        (GOOD[:0], [], "empty"),
        (np.zeros((3, 4)), [0, 1, 0], r"inputs have shape \[4\] \(4 values\), the model takes \[3\]"),
        (GOOD.astype(complex), [0, 1, 0], "complex"),
        (np.array(0.5), [0], "single numbers"),
    ],
)
def test_faults_are_said_with_file_row_and_remedy(tmp_path: Path, x: np.ndarray, y: list[object], said: str) -> None:
    path = archive(tmp_path, x=x, y=np.array(y))
    with pytest.raises(DataError, match=said) as caught:
        load(path)
    assert caught.value.where == Place(str(path))
    assert "policy.yaml:7:9" in caught.value.what
    assert caught.value.remedy


def test_other_foldings_are_refused(tmp_path: Path) -> None:
    """As many values in another arrangement: reading them in order would scramble the picture."""
    with pytest.raises(DataError, match="inputs have shape"):
        load(archive(tmp_path, x=np.zeros((1, 2, 8)), y=[0]), Face((4, 4), 0.0, 1.0, 2))


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (marker,))

    path = archive(tmp_path, x=np.array([Trap(), 1], dtype=object), y=[0, 1])
    with pytest.raises(DataError, match="plain arrays"):
        load(path)
    assert not marker.exists()
    with np.load(path, allow_pickle=True) as arrays:  # the trap is live: who unpickles runs it
        assert len(arrays["x"]) == 2
    assert marker.exists()


@pytest.mark.parametrize("raw", [b"", b"no archive", pickle.dumps([1, 2]), b"PK\x03\x04broken"])
def test_other_files_are_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "data.npz").write_bytes(raw)
    with pytest.raises(DataError, match="plain arrays"):
        load(tmp_path / "data.npz")


def test_missing_arrays_and_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no array 'y', but x, labels"):
        load(archive(tmp_path, x=GOOD, labels=[0, 1, 0]))
    with pytest.raises(DataError, match=r"there is no .*gone\.npz") as caught:
        load(tmp_path / "gone.npz")
    assert caught.value.where == PLACE


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redoubt.data.npz.MAX_BYTES", 10**6)
    with zipfile.ZipFile(tmp_path / "data.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", bytes(2 * 10**6))
    assert (tmp_path / "data.npz").stat().st_size < 10**4
    with pytest.raises(DataError, match="unpacks to more than"):
        load(tmp_path / "data.npz")


def test_the_digest_tells_values_labels_and_shape(tmp_path: Path) -> None:
    def digest(x: np.ndarray, y: list[int], face: Face = TABLE) -> str:
        path = archive(tmp_path, x=x, y=y)
        return load_data(DataSource(source=f"npz:{path.name}"), face, tmp_path, nowhere).digest

    first = digest(GOOD, [0, 1, 0])
    assert first == digest(GOOD.astype(np.float32), [0, 1, 0])
    others = {digest(spoilt(0.25), [0, 1, 0]), digest(GOOD, [1, 1, 0]), digest(GOOD, [0, 1, 0], Face((3, 1), 0, 1, 2))}
    assert len(others | {first}) == 4
