"""CSV tables: numbers, labels by number or name, and lines in messages."""

from pathlib import Path

import pytest

from redoubt.data import Dataset, load_data
from redoubt.models import Face, nowhere
from redoubt.records import DataError, DataSource, Place

FACE = Face((2,), 0.0, 10.0, classes=2)


def load(folder: Path, text: str, face: Face = FACE) -> Dataset:
    (folder / "data.csv").write_text(text, encoding="utf-8")
    return load_data(DataSource(source="csv:data.csv"), face, folder, nowhere)


@pytest.mark.parametrize(
    "text", ["label,a,b\n1,2,3\n0,4,5\n", "\ufeffa,b,kind\r\n2,3,1\r\n\r\n4,5,0\r\n", "a,label,b\n2,1,3\n4,0,5"]
)
def test_the_label_column_by_name_or_last(tmp_path: Path, text: str) -> None:
    data = load(tmp_path, text)
    assert data.x.tolist() == [[2.0, 3.0], [4.0, 5.0]]
    assert data.y.tolist() == [1, 0]


def test_labels_by_class_name(tmp_path: Path) -> None:
    data = load(tmp_path, "a,b,label\n1,2,dog\n3,4,cat\n", Face((2,), 0.0, 10.0, 2, ("cat", "dog")))
    assert data.y.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a,b,label\n1,2,0\n1,x,1\n", 3, "column 'b' says 'x'"),
        ("a,b,label\n1,2,0\n\n1,,1\n", 4, "column 'b' says ''"),
        ("a,b,label\n1,2,0\n1,2,yes\n", 3, "column 'label' says 'yes'"),
        ("a,b,label\n1,2,0\n1,2\n", 3, "this line has 2 cells, the header has 3"),
        ("a,b,label\n1,2,0\n\n1,nan,1\n", 4, r"row 1: x\[1\] is nan"),
        ("a,b,label\n1,2,0\n1,11,1\n", 3, r"row 1: x\[1\] is 11, outside the model's range 0\.\.10"),
        ("a,b,label\n1,2,0\n1,2,7\n", 3, "row 1: label 7"),
        ("1,2,0\n3,4,1\n", 1, "not with a header"),
        ("", 1, "no header"),
        ("a,b,label\n", 0, "empty"),
        ("a,label\n1,0\n", 2, r"inputs have shape \[1\]"),
    ],
)
def test_faults_carry_the_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        load(tmp_path, text)
    assert caught.value.where == Place(str(tmp_path / "data.csv"), line)
    assert caught.value.remedy


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"a,b,label\n1,\xff\xfe,0\n")
    with pytest.raises(DataError, match="UTF-8"):
        load_data(DataSource(source="csv:data.csv"), FACE, tmp_path, nowhere)
