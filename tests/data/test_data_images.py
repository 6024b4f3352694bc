"""Folders of images."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from redoubt.data import Dataset, load_data
from redoubt.models import Face, nowhere
from redoubt.records import DataError, DataSource, Place

RGB = Face((3, 4, 5), 0.0, 1.0, classes=3)


def save(path: Path, colour: tuple[int, int, int], mode: str = "RGB", size: tuple[int, int] = (5, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)
    return path


def load(folder: Path, face: Face = RGB) -> Dataset:
    return load_data(DataSource(source=f"images:{folder.name}"), face, folder.parent, nowhere)


def test_classes_in_alphabetical_order(tmp_path: Path) -> None:
    save(tmp_path / "set/cat/1.png", (255, 0, 0))
    save(tmp_path / "set/ant/1.bmp", (0, 255, 0))
    (tmp_path / "set/ant/.hidden").write_text("not an image")
    data = load(tmp_path / "set")
    assert data.x.shape == (2, 3, 4, 5)
    assert data.y.tolist() == [0, 1]
    assert data.x[:, :, 0, 0].tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]


def test_classes_by_number_and_by_label(tmp_path: Path) -> None:
    for name in ("2", "0", "1"):
        save(tmp_path / "numbers" / name / "a.png", (0, 0, 0))
    save(tmp_path / "names/ant/a.png", (0, 0, 0))
    assert load(tmp_path / "numbers").y.tolist() == [0, 1, 2]
    assert load(tmp_path / "names", Face((3, 4, 5), 0.0, 1.0, 3, ("bee", "cat", "ant"))).y.tolist() == [2]


@pytest.mark.parametrize("shape", [(1, 4, 5), (4, 5)])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA"])
def test_colours_become_grey_for_a_grey_face(tmp_path: Path, mode: str, shape: tuple[int, ...]) -> None:
    save(tmp_path / "set/a/1.png", (255, 255, 255), mode)
    data = load(tmp_path / "set", Face(shape, 0.0, 1.0, 2))
    assert data.x.shape == (1, *shape)
    assert float(data.x.min()) == 1.0


def bomb(path: Path) -> None:
    """A PNG of a few bytes that says it is 60000 x 60000 pixels."""
    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def broken(path: Path) -> None:
    save(path, (9, 9, 9))
    path.write_bytes(path.read_bytes()[:46])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: save(path, (0, 0, 0), size=(4, 5)), "is 4 x 5 pixels; the model takes 5 x 4"),
        (lambda path: path.write_text("words"), "is not an image"),
        (bomb, "is not an image|60000 x 60000 pixels"),
        (broken, "damaged image|not an image"),
        (lambda path: Image.fromarray(np.zeros((4, 5), np.uint16)).save(path), "not of 8 bits"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path: Path, make: object, said: str) -> None:
    save(tmp_path / "set/a/1.png", (0, 0, 0))
    make(tmp_path / "set/a/2.png")  # type: ignore[operator]
    with pytest.raises(DataError, match=said) as caught:
        load(tmp_path / "set")
    assert caught.value.where == Place(str(tmp_path / "set/a/2.png"))
    assert caught.value.remedy


def test_too_many_classes_name_the_first_file(tmp_path: Path) -> None:
    for name in "abcd":
        save(tmp_path / "set" / name / "1.png", (0, 0, 0))
    with pytest.raises(DataError, match=r"row 3: label 3 is not an integer in 0\.\.2") as caught:
        load(tmp_path / "set")
    assert caught.value.where == Place(str(tmp_path / "set/d/1.png"))


def test_empty_folders_and_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match="no subfolders"):
        load(tmp_path / "set")
    with pytest.raises(DataError, match="do not fit the input shape"):
        load(tmp_path / "set", Face((7,), 0.0, 1.0, 2))
