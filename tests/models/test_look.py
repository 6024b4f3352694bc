"""What can be told of a model file by looking at it."""

import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
import skops.io
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from torch import nn

from redoubt.models import Sketch, look
from redoubt.records import ModelError


def test_onnx(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["y"])]
    weight = numpy_helper.from_array(np.zeros((8, 5), np.float32), "w")
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 4, 8])
    wanted = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])
    model = helper.make_model(helper.make_graph(nodes, "g", [given], [wanted], [weight]), ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    sketch = look(tmp_path / "m.onnx")
    assert sketch.source == "onnx:m.onnx"
    assert (sketch.weights, sketch.shape, sketch.classes) == (None, (1, 4, 8), 5)
    assert any("probabilities" in note for note in sketch.notes)
    model.graph.input[0].type.tensor_type.shape.dim[2].ClearField("dim_value")
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "k"
    onnx.save(model, tmp_path / "m.onnx")
    assert (look(tmp_path / "m.onnx").shape, look(tmp_path / "m.onnx").classes) == (None, None)


def test_safetensors(tmp_path: Path) -> None:
    layers = [nn.Linear(20, 30), *(nn.Linear(30, 30) for _ in range(10)), nn.Linear(30, 7)]
    save_file(nn.Sequential(*layers).state_dict(), tmp_path / "w.safetensors")
    sketch = look(tmp_path / "w.safetensors")
    assert sketch == Sketch("torch:module:factory", "w.safetensors", (20,), 7, sketch.notes)
    save_file({"0.weight": torch.zeros(4, 3, 5, 5), "9.weight": torch.zeros(1, 6)}, tmp_path / "w.safetensors")
    sketch = look(tmp_path / "w.safetensors")
    assert (sketch.shape, sketch.classes) == (None, 2)
    assert any("3 channels" in note for note in sketch.notes)
    save_file({"bias": torch.zeros(4)}, tmp_path / "w.safetensors")
    assert look(tmp_path / "w.safetensors").classes is None


def test_skops(tmp_path: Path) -> None:
    x, y = load_iris(return_X_y=True)
    skops.io.dump(LogisticRegression(max_iter=200).fit(x, y), tmp_path / "m.skops")
    sketch = look(tmp_path / "m.skops")
    assert (sketch.source, sketch.shape, sketch.classes) == ("sklearn:m.skops", (4,), 3)
    skops.io.dump(LogisticRegression(max_iter=200).fit(x, y + 1), tmp_path / "m.skops")
    assert any("labels" in note for note in look(tmp_path / "m.skops").notes)
    skops.io.dump(LinearRegression().fit(x, y), tmp_path / "m.skops")
    with pytest.raises(ModelError, match="holds a LinearRegression, not a fitted classifier"):
        look(tmp_path / "m.skops")


@pytest.mark.parametrize("name", ["m.pkl", "m.pt", "m.joblib", "m", "m.safetensors", "m.skops"])
def test_pickles_are_refused_unread(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "marker"

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (marker,))

    (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelError, match="a pickle") as caught:
        look(tmp_path / name)
    assert "safetensors.torch.save_file" in caught.value.remedy or "skops.io.dump" in caught.value.remedy
    assert not marker.exists()


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "m.txt").write_text("words")
    for name, said in (("m.h5", "an HDF5 file"), ("m.txt", "a '.txt' file"), ("gone.pt", "cannot read")):
        with pytest.raises(ModelError, match=said):
            look(tmp_path / name)
