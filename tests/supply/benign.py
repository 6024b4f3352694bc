# ruff: noqa: E501  rows of a table
"""Ordinary files, as people make them with torch, NumPy, joblib, ONNX, scikit-learn, safetensors and Keras."""

import collections
import io
import json
import pickle

import joblib
import numpy as np
import onnx
import skops.io
import torch
from malicious import X, Y, _hdf5, _keras
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save as save_numpy
from safetensors.torch import save as save_torch
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier


def corpus():
    """Name to bytes."""
    return {**torches(), **arrays(), **pickles(), **tensors(), **graphs(), **estimators(), **kerases(), **texts()}


def torches():
    def saved(thing, **more):
        out = io.BytesIO()
        torch.save(thing, out, **more)
        return out.getvalue()

    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(64, 3)
    )
    adam = torch.optim.Adam(net.parameters())
    net(torch.rand(2, 1, 6, 6)).sum().backward()
    adam.step()
    shared = torch.rand(4, 4)
    return {
        "state-dict.pt": saved(net.state_dict()),
        "checkpoint.pth": saved({"model": net.state_dict(), "optimizer": adam.state_dict(), "epoch": 3, "loss": 0.5}),
        "half.pt": saved({"w": torch.rand(3).half(), "b": torch.rand(3).bfloat16(), "i": torch.arange(3), "k": torch.tensor(True)}),
        "parameter.pt": saved({"w": torch.nn.Parameter(torch.rand(2))}),
        "shared.pt": saved({"a": shared, "b": shared.T, "c": shared[1:]}),
        "tensor.pt": saved(torch.rand(100)),
        "device-and-dtype.pt": saved({"d": torch.device("cpu"), "t": torch.float32, "s": torch.Size([1, 2])}),
        "empty.pt": saved({}),
        "sparse.pt": saved({"s": torch.eye(3).to_sparse()}),
        "legacy.pth": saved(net.state_dict(), _use_new_zipfile_serialization=False),
        "legacy-shared.pth": saved({"a": shared, "b": shared.T}, _use_new_zipfile_serialization=False),
        "numpy-inside.pt": saved({"a": np.arange(3), "n": np.float64(2.0)}),
    }  # fmt: skip


def arrays():
    def npy(array):
        out = io.BytesIO()
        np.save(out, array)
        return out.getvalue()

    both, packed = io.BytesIO(), io.BytesIO()
    np.savez(both, x=X, y=Y)
    np.savez_compressed(packed, x=np.zeros((500, 500)), y=np.arange(5))
    fields = np.zeros(3, dtype=[("a", "<f4"), ("b", "<i8", (2,)), ("c", "U3")])
    return {
        "floats.npy": npy(X),
        "fortran.npy": npy(np.asfortranarray(X)),
        "scalar.npy": npy(np.array(3.0)),
        "words.npy": npy(np.array(["a", "bcd"])),
        "fields.npy": npy(fields),
        "dates.npy": npy(np.array(["2026-01-01"], dtype="datetime64[D]")),
        "none.npy": npy(np.zeros((0, 3))),
        "data.npz": both.getvalue(),
        "zeros.npz": packed.getvalue(),
    }


def pickles():
    def dumped(thing, **more):
        out = io.BytesIO()
        joblib.dump(thing, out, **more)
        return out.getvalue()

    words = {"a": [1, 2.5, None, True, "é", b"x", (1, 2), {3, 4}, frozenset({5}), 2**70, -1, complex(1, 2)]}
    found = {f"words-{p}.pkl": pickle.dumps(words, p) for p in range(6)}
    ordered = collections.OrderedDict(a=1, b=collections.Counter("abca"), c=collections.deque([1, 2], 3))
    return found | {
        "containers.pkl": pickle.dumps([ordered, collections.defaultdict(list, x=[1])]),
        "arrays.pkl": pickle.dumps({"x": X, "y": Y, "s": np.float32(1.5), "names": np.array(["a", "b"], dtype=object)}),
        "arrays-2.pkl": pickle.dumps({"x": X}, 2),
        "arrays.joblib": dumped({"x": X, "y": Y, "rate": 0.1}),
        "packed.joblib": dumped({"x": X, "list": [X, Y]}, compress=3),
        "xz.joblib": dumped([X], compress=("xz", 1)),
        "names.joblib": dumped({"n": np.array(["a", "b"], dtype=object), "x": X}),
        "fortran.joblib": dumped(np.asfortranarray(X)),
    }


def tensors():
    return {
        "weights.safetensors": save_torch({"a": torch.rand(3, 2), "b": torch.arange(4)}, {"format": "pt"}),
        "half.safetensors": save_torch(
            {"h": torch.rand(3).half(), "b": torch.rand(2).bfloat16(), "f": torch.zeros(2).bool()}
        ),
        "numpy.safetensors": save_numpy({"x": X, "y": Y}),
        "nothing.safetensors": save_torch({}),
        "empty-tensor.safetensors": save_torch({"e": torch.zeros(0, 3), "x": torch.rand(2)}),
    }


def graphs():
    face = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 2]) for n in "xy"]

    def model(nodes, inits=(), functions=(), domains=()):
        graph = helper.make_graph(nodes, "g", face[:1], face[1:], list(inits))
        opsets = [helper.make_opsetid("", 17)] + [helper.make_opsetid(d, 1) for d in domains]
        made = helper.make_model(graph, opset_imports=opsets, functions=list(functions))
        onnx.checker.check_model(made)
        return made.SerializeToString()

    weights = numpy_helper.from_array(np.eye(2, dtype=np.float32), "w")
    listed = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1.0, 0.0, 0.0, 1.0])
    body = helper.make_function(
        "mine", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])],
        "b",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    condition = numpy_helper.from_array(np.array(True), "c")
    found = {
        "dense.onnx": model([helper.make_node("MatMul", ["x", "w"], ["y"])], [weights]),
        "listed.onnx": model([helper.make_node("MatMul", ["x", "w"], ["y"])], [listed]),
        "function.onnx": model([helper.make_node("Twice", ["x"], ["y"], domain="mine")], functions=[body], domains=["mine"]),
        "branches.onnx": model([helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)], [condition]),
    }  # fmt: skip
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(32, 3)
    ).eval()
    out = io.BytesIO()
    torch.onnx.export(net, (torch.rand(1, 1, 6, 6),), out, dynamo=False)
    found["exported.onnx"] = out.getvalue()
    return found


def estimators():
    made = {
        "logistic": LogisticRegression(max_iter=500),
        "forest": RandomForestClassifier(3),
        "boosting": GradientBoostingClassifier(n_estimators=3),
        "histogram": HistGradientBoostingClassifier(max_iter=3),
        "perceptron": MLPClassifier((4,), max_iter=5),
        "neighbours": KNeighborsClassifier(),
        "svc": SVC(),
        "bayes": GaussianNB(),
        "tree": DecisionTreeClassifier(),
        "sgd": SGDClassifier(),
        "pipeline": make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
        "log": make_pipeline(FunctionTransformer(np.square), LogisticRegression(max_iter=500)),
    }
    return {f"{name}.skops": skops.io.dumps(estimator.fit(X, Y)) for name, estimator in made.items()}


def kerases():
    def layer(kind, **config):
        return {"module": "keras.layers", "class_name": kind, "registered_name": None, "config": config}

    start = {
        "module": "keras.initializers",
        "class_name": "GlorotUniform",
        "registered_name": None,
        "config": {"seed": None},
    }
    dense = layer("Dense", name="d", units=3, activation="softmax", kernel_initializer=start)
    old = [
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4], "dtype": "float32", "name": "i"}},
        {"class_name": "Dense", "config": {"name": "d", "units": 3, "activation": "relu",
         "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}}, "bias_initializer": {"class_name": "Zeros", "config": {}}}},
        {"class_name": "Dropout", "config": {"name": "o", "rate": 0.5}},
    ]  # fmt: skip
    return {
        "dense.keras": _keras([layer("InputLayer", name="i", batch_shape=[None, 4]), dense]),
        "conv.keras": _keras([layer("Conv2D", name="c", filters=2), layer("Flatten", name="f"), dense]),
        "model.h5": _hdf5(old),
        "weights.h5": _hdf5(),
    }


def texts():
    return {
        "README.md": "# A model\n\nIt reads digits, über alles.\n".encode(),
        "config.json": json.dumps({"architectures": ["Bert"], "hidden_size": 8}).encode(),
        "vocabulary.txt": b"a\nb\nc\n",
        "LICENSE": b"Apache License\n",
    }
