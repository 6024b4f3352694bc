# ruff: noqa: E501  rows of tables
"""Every file that is meant to do harm is refused and nothing of it runs; no ordinary file is refused."""

import contextlib
import pickle
import random
import time
from pathlib import Path

import benign
import malicious
import pytest
import torch

from redoubt.models import load_model, look, nowhere
from redoubt.records import ModelError, ModelSource
from redoubt.supply import Kind, judge, scan

FORMATS = {"pickle", "packed pickle", "torch", "torch (before 1.6)", "TorchScript", "npy", "npz", "safetensors", "onnx",
           "keras", "hdf5", "skops"}  # fmt: skip


@pytest.fixture(scope="module")
def marker(tmp_path_factory):
    return tmp_path_factory.mktemp("corpus") / "marker"


@pytest.fixture(scope="module")
def bad(marker):
    found = malicious.corpus(marker)
    assert not marker.exists()
    return found


@pytest.fixture(scope="module")
def good():
    return benign.corpus()


def test_the_corpora_are_large_enough(bad, good):
    assert len(bad) >= 60
    assert len({judge(name, raw).format for name, raw in bad.items()} & FORMATS) >= 10
    assert len(good) >= 40
    assert len({judge(name, raw).format for name, raw in good.items()} & FORMATS) >= 10


def test_every_malicious_file_is_refused_with_place_reason_and_remedy(bad, marker):
    for name, raw in bad.items():
        judged = judge(name, raw)
        assert not judged.allowed, name
        for finding in judged.findings:
            assert finding.what
            assert finding.remedy, name
    assert not marker.exists()


EXPECTED = {
    "system-": Kind.RUNS_CODE, "eval.pkl": Kind.RUNS_CODE, "memo.pkl": Kind.RUNS_CODE, "inst.pkl": Kind.RUNS_CODE,
    "obj.pkl": Kind.RUNS_CODE, "newobj": Kind.RUNS_CODE, "numpy-load": Kind.UNKNOWN_NAME, "memo-bomb": Kind.BOMB,
    "script.pt": Kind.RUNS_CODE, "whole-module": Kind.UNKNOWN_NAME, "objects.npy": Kind.RUNS_CODE,
    "overlap.safetensors": Kind.DECEIVES, "huge-header": Kind.BOMB, "also-a-zip": Kind.DECEIVES,
    "traversal.onnx": Kind.LEADS_OUTSIDE, "custom-operator": Kind.CUSTOM_OPERATOR, "hidden-operator": Kind.CUSTOM_OPERATOR,
    "laughs": Kind.BOMB, "circle": Kind.BOMB, "lambda.keras": Kind.RUNS_CODE, "lambda.h5": Kind.RUNS_CODE,
    "external-link": Kind.LEADS_OUTSIDE, "method.skops": Kind.RUNS_CODE, "bomb.npz": Kind.BOMB, "overlap.npz": Kind.BOMB,
    "traversal.npz": Kind.LEADS_OUTSIDE, "link.npz": Kind.LEADS_OUTSIDE, "headers-disagree": Kind.DECEIVES,
    "model.gguf": Kind.UNKNOWN_FORMAT, "config.json": Kind.RUNS_CODE, "size-lies": Kind.DECEIVES,
}  # fmt: skip


def test_the_reason_is_the_right_one(bad):
    for start, kind in EXPECTED.items():
        names = [name for name in bad if name.startswith(start)]
        assert names, start
        for name in names:
            assert judge(name, bad[name]).findings[0].kind is kind, name


def test_what_a_call_would_do_is_told(bad, marker):
    told = judge("system-4.pkl", bad["system-4.pkl"]).findings[0].what
    assert f"posix.system('touch {marker}')" in told
    assert "runs a command" in told


def test_none_is_loaded_by_any_loader(bad, marker, tmp_path):
    (tmp_path / "maker.py").write_text("import torch\ndef build(): return torch.nn.Linear(4, 3)\n")
    face = {"input": {"shape": [4], "range": [-9, 9]}, "classes": 3}
    for name, raw in bad.items():
        for scheme, suffix in (("torch", "safetensors"), ("onnx", "onnx"), ("sklearn", "skops")):
            path = tmp_path / f"m.{suffix}"
            path.write_bytes(raw)
            wanted = (
                {"source": "torch:maker:build", "weights": path.name}
                if scheme == "torch"
                else {"source": f"{scheme}:{path.name}"}
            )
            with pytest.raises(ModelError):
                load_model(ModelSource.model_validate(wanted | face), tmp_path, nowhere)
            with pytest.raises(ModelError):
                look(path)
            path.unlink()
        assert not marker.exists(), name


@pytest.mark.parametrize(
    "name", ["system-0.pkl", "system-5.pkl", "eval.pkl", "memo.pkl", "obj.pkl", "inst.pkl", "popen.pkl"]
)
def test_the_traps_are_live(name, bad, marker):
    """Who unpickles them runs them: or the tests above would show nothing."""
    made = pickle.loads(bad[name])
    if hasattr(made, "wait"):
        made.wait()
    assert marker.exists()
    marker.unlink()


def test_a_torch_trap_is_live(bad, marker, tmp_path):
    (tmp_path / "t.pt").write_bytes(bad["wrong-checksum.pt"])
    torch.load(tmp_path / "t.pt", weights_only=False)
    assert marker.exists()
    marker.unlink()


def test_no_ordinary_file_is_refused(good):
    refused = {name: judge(name, raw).findings for name, raw in good.items() if not judge(name, raw).allowed}
    assert not refused


def test_ordinary_files_are_what_they_are_called(good):
    for name, raw in good.items():
        what = judge(name, raw).format
        suffix = Path(name).suffix.lstrip(".")
        assert what == suffix or what in FORMATS | {"json", "text"}, name


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bytes_lead_to_findings_and_never_to_errors(seed, bad, good, marker):
    """Flipped, cut, doubled and swapped bytes of every file: the judge answers, soon, and nothing runs."""
    rng = random.Random(seed)
    for name, raw in {**bad, **good}.items():
        if len(raw) > 200_000:
            continue
        changed = bytearray(raw)
        for _ in range(rng.choice([1, 3, 20])):
            if changed:
                changed[rng.randrange(len(changed))] = rng.randrange(256)
        if rng.random() < 0.3 and changed:
            del changed[rng.randrange(len(changed)) :]
        if rng.random() < 0.2:
            changed += changed[: rng.randrange(len(changed) + 1)]
        begun = time.monotonic()
        judged = judge(name, bytes(changed))
        assert time.monotonic() - begun < 10, name
        assert judged.size == len(changed)
        assert judged.allowed or judged.findings
    assert not marker.exists()


def test_what_is_allowed_after_a_flip_does_nothing_when_it_is_loaded(good, marker, tmp_path):
    """Pickles with flipped bytes that are still allowed are unpickled: nothing but values comes of them."""
    rng, loaded = random.Random(7), 0
    for name in ("words-0.pkl", "words-2.pkl", "words-4.pkl", "containers.pkl", "arrays.pkl"):
        for _ in range(150):
            changed = bytearray(good[name])
            changed[rng.randrange(len(changed))] = rng.randrange(256)
            if judge(name, bytes(changed)).allowed:
                with contextlib.suppress(
                    ValueError, TypeError, UnicodeError, pickle.UnpicklingError, SystemError, KeyError
                ):
                    pickle.loads(bytes(changed))
                loaded += 1
    assert loaded > 50


def test_a_folder_is_scanned_whole_and_links_are_findings(good, bad, tmp_path):
    (tmp_path / "m" / "sub").mkdir(parents=True)
    for name in ("README.md", "config.json", "dense.onnx"):
        (tmp_path / "m" / name).write_bytes(good[name])
    (tmp_path / "m" / "sub" / "x.pkl").write_bytes(bad["eval.pkl"])
    (tmp_path / "m" / "link").symlink_to("/etc/passwd")
    (tmp_path / "m" / "folder").symlink_to("/etc")
    judged = {one.file: one for one in scan(tmp_path / "m")}
    assert list(judged) == ["README.md", "config.json", "dense.onnx", "folder", "link", "sub/x.pkl"]
    assert [name for name, one in judged.items() if not one.allowed] == ["folder", "link", "sub/x.pkl"]
    assert judged["link"].findings[0].kind is Kind.LEADS_OUTSIDE


def test_tensors_beside_an_onnx_model_belong_to_it(tmp_path, monkeypatch):
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    tensor = TensorProto(name="w", data_type=1, dims=[2, 2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="w.bin")
    face = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", face[:1], face[1:], [tensor])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "m.onnx")
    (tmp_path / "w.bin").write_bytes(np.eye(2, dtype=np.float32).tobytes())
    assert all(one.allowed for one in scan(tmp_path))
    assert all(one.allowed for one in scan(tmp_path / "m.onnx"))
    with monkeypatch.context() as patch:  # its parts are those that the judged bytes name, whatever the file is by now
        patch.setattr(Path, "read_bytes", lambda _: pytest.fail("read a second time"))
        assert all(one.allowed for one in scan(tmp_path))
    import pickle as pickles

    hidden = pickles.dumps(malicious.Call(eval, "1"), 4)
    tensor.dims[:] = [len(hidden)]
    tensor.data_type = 2
    (tmp_path / "w.bin").write_bytes(hidden)
    graph.initializer[0].CopyFrom(tensor)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "m.onnx")
    assert [one.file for one in scan(tmp_path) if not one.allowed] == ["w.bin"]  # a pickle, whoever calls it tensors
    (tmp_path / "w.bin").write_bytes(bytes(len(hidden)))
    (tmp_path / "other.bin").write_bytes(b"\0\1\2\3")
    assert [one.file for one in scan(tmp_path) if not one.allowed] == ["other.bin"]


def with_default(folder, location, twice=False):
    """A model whose function has a default attribute, a tensor that lies in another file."""
    import onnx
    from onnx import TensorProto, helper

    tensor = TensorProto(name="w", data_type=1, dims=[1, 2], data_location=TensorProto.EXTERNAL)
    for place in (["w.bin"] if twice else []) + [location]:
        tensor.external_data.add(key="location", value=place)
    node = helper.make_node("Constant", [], ["w"])
    node.attribute.add(name="value", ref_attr_name="v", type=onnx.AttributeProto.TENSOR)
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    function = helper.make_function(
        "own", "Shift", ["x"], ["y"], [node, helper.make_node("Add", ["x", "w"], ["y"])], opset[:1]
    )
    function.attribute_proto.add(name="v", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)
    face = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Shift", ["x"], ["y"], domain="own")], "g", face[:1], face[1:])
    model = helper.make_model(graph, opset_imports=opset, functions=[function], ir_version=9)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


def test_tensors_in_the_defaults_of_a_function_are_looked_at_and_read_like_others(tmp_path):
    """They are put in place when functions are unfolded; what they name was read from wherever the process stood."""
    import numpy as np
    import onnx

    from redoubt.models.onnx_file import read_onnx

    (tmp_path / "w.bin").write_bytes(np.array([1, 2], dtype=np.float32).tobytes())
    for location in ("/etc/hostname", "../w.bin", "gone.bin"):
        (found,) = judge("m.onnx", with_default(tmp_path, location).read_bytes()).findings
        assert found.kind is Kind.LEADS_OUTSIDE
        with pytest.raises(ModelError, match="nothing in it was executed"):
            read_onnx(with_default(tmp_path, location))
    model, _ = read_onnx(with_default(tmp_path, "w.bin"))
    (value,) = [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    assert onnx.numpy_helper.to_array(value).tolist() == [[1, 2]]
    (twice,) = judge("m.onnx", with_default(tmp_path, "../w.bin", twice=True).read_bytes()).findings
    assert twice.kind is Kind.DECEIVES


def test_a_pipe_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match="no plain file"):
        next(scan(tmp_path / "m.safetensors"))


def test_an_hdf5_array_of_which_nearly_nothing_is_in_the_file_is_a_bomb(tmp_path):
    """Never written, or packed; and a small one that was never written is none."""
    import numpy as np

    h5py = pytest.importorskip("h5py")

    def found(**more):
        with h5py.File(tmp_path / "w.h5", "w") as file:
            file.create_dataset("kernel", **{"dtype": "f4"} | more)
        return [flaw.kind for flaw in judge("w.h5", (tmp_path / "w.h5").read_bytes()).findings]

    assert found(shape=(10**12,)) == [Kind.BOMB]
    assert found(shape=(2**34,), chunks=(2**20,), compression="gzip") == [Kind.BOMB]
    assert found(shape=(1000,)) == []
    assert found(data=np.zeros(10**6, dtype="f4"), compression="gzip") == []
