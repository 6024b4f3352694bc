"""Evidence folders are untrusted: whatever is wrong in one is said, with the file's name, and nothing is believed."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sample import TIMINGS, image_case, write_folder

from redoubt.records import StorageError
from redoubt.report.read import read_folder
from redoubt.report.write import write_reports

CASE = image_case()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "evidence", CASE, TIMINGS)


def refused(folder: Path, file: str, says: str) -> None:
    """Reading fails, naming the file and what is wrong; and no report is written."""
    with pytest.raises(StorageError, match=says) as caught:
        write_reports(folder, "redoubt assess", {})
    assert caught.value.where is not None
    assert Path(caught.value.where.file).name == file
    assert caught.value.remedy
    assert not (folder / "report.html").exists()


def test_reads_what_assess_wrote(folder: Path) -> None:
    read = read_folder(folder)
    assert read.evidence == CASE[0]
    assert read.timings is not None
    assert read.timings.of("turn-and-shift") == 8.5
    pair = read.pairs["small-noise"][0]
    np.testing.assert_array_equal(pair.perturbed, CASE[1][f"{pair.result.tensor}/perturbed"])


def test_examples_take_turns_by_class(folder: Path) -> None:
    pairs = read_folder(folder, shown=8).pairs["small-noise"]
    assert len({pair.result.label for pair in pairs}) == 8
    assert [pair.result.row for pair in pairs] == sorted(pair.result.row for pair in pairs)


def test_timings_may_be_missing(folder: Path) -> None:
    (folder / "timings.json").unlink()
    assert read_folder(folder).timings is None


@pytest.mark.parametrize("file", ["evidence.json", "policy.yaml", "examples.safetensors"])
def test_missing(folder: Path, file: str) -> None:
    (folder / file).unlink()
    refused(folder, file, "is missing")


@pytest.mark.parametrize("file", ["evidence.json", "policy.yaml", "examples.safetensors", "timings.json"])
def test_not_a_file(folder: Path, file: str) -> None:
    (folder / file).unlink()
    os.mkfifo(folder / file)  # reading one would wait for ever
    refused(folder, file, "is not a file")


@pytest.mark.parametrize(("file", "mebibytes"), [("evidence.json", 257), ("policy.yaml", 2), ("timings.json", 17)])
def test_too_large(folder: Path, file: str, mebibytes: int) -> None:
    with (folder / file).open("r+b") as handle:
        handle.truncate(mebibytes << 20)
    refused(folder, file, "is larger than")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "is not JSON"),
        (b'{"redoubt": "0.1.0", ', "is not JSON"),
        (b"[]", "is not evidence"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "is no count"),
        (b'{"seed": 9007199254740992}', "is no count"),
        (b"\xff\xfe", "is damaged"),
    ],
    ids=["empty", "cut off", "list", "deep", "long number", "2**53", "not UTF-8"],
)
def test_evidence_is_not_json(folder: Path, text: bytes, says: str) -> None:
    (folder / "evidence.json").write_bytes(text)
    refused(folder, "evidence.json", says)


def _set(value: Any, *path: str | int) -> Callable[[Any], None]:
    def change(plain: Any) -> None:
        for key in path[:-1]:
            plain = plain[key]
        plain[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_set("x", "surprise"), "surprise: Extra inputs"),
        (_set("secure", "requirements", 0, "verdict"), "requirements.0.verdict"),
        (_set(float("nan"), "requirements", 0, "examples", 0, "distance"), "finite"),
        (_set("\ud800", "system"), "hex escape"),
        (_set(201, "requirements", 0, "measures", 0, "successes"), "201 of 200 is no share"),
        (_set(101, "requirements", 0, "curve", 0, "robust", "successes"), "101 of 100 is no share"),
        (_set(1e300, "requirements", 0, "curve", 0, "scale"), "scale of 1e"),
        (_set([1.0, 0.0], "input_range"), "input_range"),
        (_set([-1e308, 1e308], "input_range"), "input_range"),
        (_set("small-noise", "requirements", 1, "id"), "'small-noise' stands there twice"),
    ],
)
def test_evidence_makes_no_sense(folder: Path, change: Callable[[Any], None], says: str) -> None:
    plain = json.loads((folder / "evidence.json").read_text())
    change(plain)
    (folder / "evidence.json").write_text(json.dumps(plain))
    refused(folder, "evidence.json", says)


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (None, "holds no tensor"),
        (np.zeros((1, 8, 9), "float32"), r"F32 \[1, 8, 9\]"),
        (np.zeros((1, 8, 8), "float64"), "is F64"),
        (np.full((1, 8, 8), np.nan, "float32"), "NaN or infinity"),
    ],
)
def test_tensor_is_wrong(folder: Path, tensor: np.ndarray | None, says: str) -> None:
    first = read_folder(folder).pairs["small-noise"][0].result.tensor
    tensors = load_file(folder / "examples.safetensors")
    del tensors[f"{first}/perturbed"]
    save_file(tensors if tensor is None else {**tensors, f"{first}/perturbed": tensor}, folder / "examples.safetensors")
    refused(folder, "examples.safetensors", says)


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"\xff" * 100], ids=["empty", "pickle", "huge header"])
def test_examples_are_no_safetensors(folder: Path, content: bytes) -> None:
    (folder / "examples.safetensors").write_bytes(content)
    refused(folder, "examples.safetensors", "is damaged")


def test_examples_cut_off(folder: Path) -> None:
    file = folder / "examples.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    refused(folder, "examples.safetensors", "is damaged")


@pytest.mark.parametrize(
    "change",
    [
        _set("yesterday", "started"),
        _set("0001-01-01T00:00:00+14:00", "started"),
        _set(-1, "seconds", "small-noise", "random"),
        _set("x" * 1001, "machine"),
        _set(1, "surprise"),
    ],
)
def test_timings_make_no_sense(folder: Path, change: Callable[[Any], None]) -> None:
    plain = json.loads((folder / "timings.json").read_text())
    change(plain)
    (folder / "timings.json").write_text(json.dumps(plain))
    refused(folder, "timings.json", "is not timings")


def test_inputs_too_large_to_show_are_left_out(folder: Path) -> None:
    plain = json.loads((folder / "evidence.json").read_text())
    plain["input_shape"] = [1, 8, 1 << 30]
    (folder / "evidence.json").write_text(json.dumps(plain))
    assert not any(read_folder(folder).pairs.values())
    written = write_reports(folder, "redoubt assess", {})
    assert "None is shown" in written["html"].read_text()


def test_every_sign_has_its_advice() -> None:
    from redoubt.records import SignName
    from redoubt.report.words import SIGN_REMEDY

    assert set(SIGN_REMEDY) == set(SignName)
