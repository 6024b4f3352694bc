"""The gate: pins, signatures, and the bytes that were looked at are the bytes that are loaded."""

import shutil

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from redoubt.cli.sign import make_key, read_key
from redoubt.models import load_model, nowhere
from redoubt.records import ModelError, ModelSource, digest
from redoubt.supply import Gate
from redoubt.supply.signing.manifest import sign_model

FACE = {"input": {"shape": [4], "range": [-9, 9]}, "classes": 3}


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "maker.py").write_text("import torch\ndef build(): return torch.nn.Linear(4, 3)\n")
    save_file(torch.nn.Linear(4, 3).state_dict(), tmp_path / "m" / "w.safetensors")
    make_key(tmp_path / "signer.key")
    return tmp_path


def torch_source(**more):
    return ModelSource.model_validate({"source": "torch:maker:build", "weights": "w.safetensors"} | FACE | more)


def sign(folder, root, name="model.sig"):
    (folder / name).write_bytes(sign_model(root, read_key(folder / "signer.key"), folder / name))


def test_a_pin(folder):
    pin = digest((folder / "m/w.safetensors").read_bytes())
    load_model(torch_source(digest=pin), folder / "m", nowhere)
    with pytest.raises(ModelError, match=r"the policy says sha256:0000.*nothing in it was executed"):
        load_model(torch_source(digest="sha256:" + "0" * 64), folder / "m", nowhere)


WHOLE = {"bundle": "../model.sig", "key": "../signer.key.pub", "of": "."}


def test_a_signature_of_the_folder(folder):
    sign(folder, folder / "m")
    load_model(torch_source(signature=WHOLE), folder / "m", nowhere)


@pytest.mark.parametrize("change", ["weights", "code", "added", "unsigned", "key"])
def test_what_was_changed_is_refused_before_its_code_runs(folder, change):
    base, marker = folder / "m", folder / "marker"
    evil = f"open({str(marker)!r}, 'w').close()\nimport torch\ndef build(): return torch.nn.Linear(4, 3)\n"
    if change != "unsigned":
        sign(folder, base)
    shutil.rmtree(base / "__pycache__", ignore_errors=True)
    if change == "weights":
        save_file(torch.nn.Linear(4, 3).state_dict(), base / "w.safetensors")
    elif change == "added":
        (base / "torchhelper.py").write_text("x = 1\n")
    elif change == "key":
        (folder / "signer.key").unlink()
        make_key(folder / "signer.key")
    (base / "maker.py").write_text(evil if change != "weights" else (base / "maker.py").read_text())
    with pytest.raises(ModelError, match=r"nothing in it was executed|cannot read"):
        load_model(torch_source(signature=WHOLE), base, nowhere)
    assert not marker.exists()


def test_a_signature_of_the_file_alone(folder):
    sign(folder, folder / "m/w.safetensors")
    alone = {"bundle": "../model.sig", "key": "../signer.key.pub"}
    load_model(torch_source(signature=alone), folder / "m", nowhere)
    save_file(torch.nn.Linear(4, 3).state_dict(), folder / "m/w.safetensors")
    with pytest.raises(ModelError, match="changed"):
        load_model(torch_source(signature=alone), folder / "m", nowhere)


def test_a_file_that_is_exchanged_between_check_and_load(folder, monkeypatch):
    """The signature holds when the folder is checked; the bytes that were read before are others."""
    sign(folder, folder / "m")
    path = folder / "m/w.safetensors"
    honest = path.read_bytes()
    save_file(torch.nn.Linear(4, 3).state_dict(), path)
    from redoubt.supply import gate

    reading = gate.read_once

    def read_then_restore(file, *rest, **more):
        raw = reading(file, *rest, **more)
        if file == path:
            path.write_bytes(honest)
        return raw

    monkeypatch.setattr(gate, "read_once", read_then_restore)
    with pytest.raises(ModelError, match=r"w.safetensors is not what was signed"):
        load_model(torch_source(signature=WHOLE), folder / "m", nowhere)


def test_the_bytes_that_were_admitted_are_given(folder):
    path = folder / "m/w.safetensors"
    assert Gate().admit(path, "safetensors") == path.read_bytes()
    with pytest.raises(ModelError, match=r"w.safetensors is a safetensors file, not an ONNX model"):
        Gate().admit(path, "onnx")


def onnx_with_tensors_beside(folder):
    tensor = TensorProto(name="w", data_type=1, dims=[4, 3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="w.bin")
    face = [helper.make_tensor_value_info("x", 1, ["b", 4]), helper.make_tensor_value_info("y", 1, ["b", 3])]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", face[:1], face[1:], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    (folder / "w.bin").write_bytes(np.ones((4, 3), np.float32).tobytes())
    return numpy_helper, onnx


def test_tensors_beside_a_model_are_signed_with_it(tmp_path):
    (tmp_path / "m").mkdir()
    onnx_with_tensors_beside(tmp_path / "m")
    make_key(tmp_path / "signer.key")
    sign(tmp_path, tmp_path / "m")
    source = ModelSource.model_validate({"source": "onnx:m.onnx", "signature": WHOLE} | FACE)
    load_model(source, tmp_path / "m", nowhere)
    (tmp_path / "m/w.bin").write_bytes(np.zeros((4, 3), np.float32).tobytes())
    with pytest.raises(ModelError, match=r"changed: w.bin"):
        load_model(source, tmp_path / "m", nowhere)


def test_a_pin_says_nothing_about_tensors_beside_the_model(tmp_path):
    onnx_with_tensors_beside(tmp_path)
    pin = digest((tmp_path / "m.onnx").read_bytes())
    source = ModelSource.model_validate({"source": "onnx:m.onnx", "digest": pin} | FACE)
    with pytest.raises(ModelError, match="the pinned digest covers the model's own file alone"):
        load_model(source, tmp_path, nowhere)
