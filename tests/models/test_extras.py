"""What is said when an optional dependency is not installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from redoubt.data import load_data
from redoubt.models import Face, load_model, nowhere
from redoubt.records import DataError, DataSource, InputFace, ModelError, ModelSource


@pytest.mark.parametrize(
    ("source", "missing", "extra"),
    [
        ("onnx:m.onnx", "onnx", "onnx"),
        ("onnx:m.onnx", "onnx.inliner", "onnx"),
        ("sklearn:m.skops", "skops.io", "sklearn"),
    ],
)
def test_the_remedy_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, missing: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    given = ModelSource(source=source, input=InputFace(shape=(4,), range=(0.0, 1.0)), classes=2)
    with pytest.raises(ModelError, match="not installed") as caught:
        load_model(given, tmp_path, nowhere)
    assert caught.value.remedy == f"pip install 'redoubt[{extra}]'"


def test_bundled_sets_need_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(DataError, match="comes with scikit-learn") as caught:
        load_data(DataSource(source="sklearn:digits/test"), Face((64,), 0.0, 1.0, 10), Path(), nowhere)
    assert "redoubt[sklearn]" in caught.value.remedy


def test_the_room_opens_without_the_extras() -> None:
    code = (
        "import sys\n"
        "for name in ('onnx', 'onnxruntime', 'sklearn', 'skops'): sys.modules[name] = None\n"
        "import redoubt.models, redoubt.data\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
