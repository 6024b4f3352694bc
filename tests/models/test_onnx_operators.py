"""Every operator of the conversion from ONNX to torch against onnxruntime, its gradients against finite differences."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from redoubt.models.onnx_node import Unsupported
from redoubt.models.onnx_torch import OPERATORS, convert

RNG = np.random.default_rng(0)
IMAGE = (2, 3, 7, 6)
FLAT = (2, 5)


def arr(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


class Case:
    """One node on input `x`, with constants as further inputs; `tail` nodes turn its output into floats."""

    def __init__(self, op: str, *constants: Any, shape: tuple[int, ...] = FLAT, opset: int = 20, **more: Any) -> None:
        self.op, self.constants, self.shape, self.opset = op, constants, shape, opset
        self.low, self.high = more.pop("low", -2.0), more.pop("high", 2.0)
        self.first, self.outputs = more.pop("first", True), more.pop("outputs", 1)
        self.tail, self.attributes = more.pop("tail", None), more

    def __repr__(self) -> str:
        return f"{self.op}-{self.opset}-{'-'.join(f'{k}={v}' for k, v in self.attributes.items())}".replace("]", "")

    def model(self) -> Any:
        names, initializers = (["x"] if self.first else []), []
        for number, constant in enumerate(self.constants):
            name = "x" if constant is X else f"c{number}" if constant is not None else ""
            names.append(name)
            if constant is not None and constant is not X:
                initializers.append(numpy_helper.from_array(np.asarray(constant), name))
        outputs = [f"y{number}" for number in range(self.outputs)]
        nodes = [helper.make_node(self.op, names, outputs, **self.attributes)]
        nodes += self.tail or []
        last = nodes[-1].output[0]
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *self.shape[1:]])],
            [helper.make_empty_tensor_value_info(last)],
            initializers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        inferred = onnx.shape_inference.infer_shapes(model)
        known = {v.name: v for v in inferred.graph.value_info} | {v.name: v for v in inferred.graph.output}
        model.graph.output[0].CopyFrom(known[last])
        return model


X = object()
"""Stands for the graph's input among a case's further inputs."""


def cast(name: str = "y0") -> Any:
    return helper.make_node("Cast", [name], ["cast"], to=TensorProto.FLOAT)


def times(name: str) -> list[Any]:
    return [helper.make_node("Mul", ["x", name], ["product"])]


def where(name: str = "y0") -> list[Any]:
    return [helper.make_node("Neg", ["x"], ["minus"]), helper.make_node("Where", [name, "x", "minus"], ["chosen"])]


SIGNS = np.array([[0.3, -0.4, 0.1, 1.0, -1.0]], np.float32)

CASES = [
    Case("Abs"),
    Case("Add", arr(5)),
    Case("AveragePool", shape=IMAGE, kernel_shape=[2, 2]),
    Case("AveragePool", shape=IMAGE, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]),
    Case("AveragePool", shape=IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    Case("AveragePool", shape=IMAGE, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    Case("BatchNormalization", arr(3), arr(3), arr(3), abs(arr(3)), shape=IMAGE, epsilon=1e-3),
    Case("BatchNormalization", arr(3), arr(3), arr(3), abs(arr(3)), shape=IMAGE, opset=9),
    Case("Cast", to=TensorProto.DOUBLE),
    Case("Celu", alpha=0.7),
    Case("Clip", np.float32(-0.5), np.float32(0.8)),
    Case("Clip", None, np.float32(0.8)),
    Case("Clip", opset=7, min=-0.5, max=0.8),
    Case("Concat", X, arr(2, 5), axis=-1, first=False, shape=(2, 5)),
    Case("Constant", value=numpy_helper.from_array(arr(5)), first=False, tail=times("y0")),
    Case("Constant", value_floats=[1.0, 2.0, 3.0, 4.0, 5.0], first=False, tail=times("y0")),
    Case("Constant", value_float=3.0, first=False, tail=times("y0")),
    Case("ConstantOfShape", ints(1, 5), first=False, tail=[helper.make_node("Add", ["x", "y0"], ["sum"])]),
    Case(
        "ConstantOfShape",
        ints(5),
        first=False,
        tail=times("y0"),
        value=numpy_helper.from_array(np.array([2.5], np.float32)),
    ),
    Case("Conv", arr(4, 3, 3, 3), arr(4), shape=IMAGE),
    Case("Conv", arr(6, 1, 2, 3), shape=IMAGE, group=3, pads=[1, 1, 1, 1], strides=[2, 1]),
    Case("Conv", arr(4, 3, 3, 3), shape=IMAGE, dilations=[2, 2], pads=[2, 0, 1, 3]),
    Case("Conv", arr(4, 3, 3, 2), shape=IMAGE, auto_pad="SAME_LOWER", strides=[2, 2]),
    Case("Conv", arr(4, 3, 3, 2), shape=IMAGE, auto_pad="SAME_UPPER"),
    Case("Conv", arr(4, 3, 3, 2), shape=IMAGE, auto_pad="VALID", kernel_shape=[3, 2]),
    Case("Conv", arr(4, 3, 3), shape=(2, 3, 8)),
    Case("Conv", arr(2, 1, 2, 2, 2), shape=(2, 1, 4, 4, 4)),
    Case("Cos"),
    Case("Div", abs(arr(5)) + 1),
    Case("Dropout"),
    Case("Dropout", None, np.array(False), opset=13),
    Case("Dropout", opset=10, ratio=0.4),
    Case("Elu", alpha=0.6),
    Case("Equal", X, tail=where()),
    Case("Erf"),
    Case("Exp"),
    Case("Expand", ints(3, 1, 5)),
    Case("Expand", ints(1, 4), shape=(2, 1)),
    Case("Flatten", shape=IMAGE),
    Case("Flatten", shape=IMAGE, axis=-2),
    Case("Flatten", shape=IMAGE, axis=0),
    Case("Gather", ints(2, 0, -1), axis=1),
    Case("Gather", np.array(3), axis=1),
    Case("Gather", np.array([[0, 1], [1, 0]]), axis=-2, shape=(2, 3, 4)),
    Case("Gelu"),
    Case("Gelu", approximate="tanh"),
    Case("Gemm", arr(5, 3), arr(3)),
    Case("Gemm", arr(3, 5), arr(3), transB=1, alpha=0.5, beta=2.0),
    Case("Gemm", arr(2, 3), transA=1, alpha=2.0),
    Case("GlobalAveragePool", shape=IMAGE),
    Case("GlobalMaxPool", shape=IMAGE),
    Case("Greater", SIGNS, tail=where()),
    Case("GreaterOrEqual", SIGNS, tail=where()),
    Case("HardSigmoid", alpha=0.3, beta=0.4),
    Case("HardSwish", opset=14, low=-4.0, high=4.0),
    Case("Identity"),
    Case("InstanceNormalization", arr(3), arr(3), shape=IMAGE, epsilon=1e-2),
    Case("LayerNormalization", arr(6), arr(6), shape=IMAGE),
    Case("LayerNormalization", arr(7, 6), shape=IMAGE, axis=2, epsilon=1e-2),
    Case("LeakyRelu", alpha=0.2),
    Case("LeakyRelu"),
    Case("Less", SIGNS, tail=where()),
    Case("LessOrEqual", SIGNS, tail=where()),
    Case("Log", low=0.2),
    Case("LogSoftmax", axis=1),
    Case("LogSoftmax", shape=(2, 3, 4), opset=11, axis=1),
    Case("MatMul", arr(5, 3)),
    Case("MatMul", arr(3, 4, 2), shape=(2, 3, 5, 4)),
    Case("Max", arr(5), arr(2, 1)),
    Case("MaxPool", shape=IMAGE, kernel_shape=[2, 2]),
    Case("MaxPool", shape=IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 1], dilations=[1, 2]),
    Case("MaxPool", shape=IMAGE, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    Case("MaxPool", shape=(1, 2, 7, 7), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, pads=[1, 1, 1, 1]),
    Case("MaxPool", shape=IMAGE, kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_LOWER"),
    Case("MaxPool", shape=(2, 3, 9), kernel_shape=[2], strides=[2]),
    Case("Mean", arr(5), arr(2, 1)),
    Case("Min", arr(5), arr(2, 1)),
    Case("Mish", opset=18),
    Case("Mul", arr(2, 1)),
    Case("Neg"),
    Case("PRelu", abs(arr(3, 1, 1)), shape=IMAGE),
    Case("Pad", ints(0, 0, 1, 2, 0, 0, 2, 1), np.float32(0.5), shape=IMAGE),
    Case("Pad", ints(0, 0, 1, 2, 0, 0, 2, 1), shape=IMAGE, mode="reflect"),
    Case("Pad", ints(0, 0, 1, 2, 0, 0, 2, 1), shape=IMAGE, mode="edge"),
    Case("Pad", ints(0, 0, 1, 2, 0, 0, 2, 1), shape=IMAGE, mode="wrap"),
    Case("Pad", ints(1, 2, 2, 1), None, ints(-2, 3), shape=IMAGE),
    Case("Pad", ints(0, 0, -1, 2, 0, 0, 2, -1), shape=IMAGE),
    Case("Pad", shape=IMAGE, opset=10, pads=[0, 0, 1, 2, 0, 0, 2, 1], value=0.25),
    Case("Pow", np.float32(2.0)),
    Case("Pow", ints(3)),
    Case("Reciprocal", low=0.5),
    Case("ReduceL2", ints(1), keepdims=0),
    Case("ReduceMax", ints(-1, 2), shape=IMAGE),
    Case("ReduceMean", ints(2, 3), shape=IMAGE, keepdims=0),
    Case("ReduceMean", shape=IMAGE, opset=13, axes=[2, 3]),
    Case("ReduceMean", shape=IMAGE),
    Case("ReduceMean", shape=IMAGE, noop_with_empty_axes=1),
    Case("ReduceMin", shape=IMAGE, opset=13, axes=[-3]),
    Case("ReduceSum", ints(1), shape=IMAGE, keepdims=0),
    Case("Relu"),
    Case("Reshape", ints(0, -1), shape=IMAGE),
    Case("Reshape", ints(-1, 5)),
    Case("Selu"),
    Case("Selu", alpha=1.5, gamma=1.1),
    Case("Sigmoid"),
    Case("Sin"),
    Case("Slice", ints(1, -3), ints(2**62, -1), ints(3, 2), ints(2, 1), shape=IMAGE),
    Case("Slice", ints(-1), ints(-(2**62)), ints(1), ints(-2)),
    Case("Slice", ints(0, 1), ints(2, 4)),
    Case("Slice", opset=9, starts=[1], ends=[-1], axes=[1]),
    Case("Softmax"),
    Case("Softmax", shape=(2, 3, 4), axis=1),
    Case("Softmax", shape=(2, 3, 4), opset=11),
    Case("Softplus"),
    Case("Softsign"),
    Case("Split", ints(2, 3), axis=1, outputs=2, tail=[helper.make_node("Concat", ["y1", "y0"], ["z"], axis=1)]),
    Case("Split", axis=1, outputs=2, num_outputs=2, tail=[helper.make_node("Concat", ["y1", "y0"], ["z"], axis=1)]),
    Case("Split", opset=11, axis=1, outputs=2, split=[1, 4], tail=[helper.make_node("Identity", ["y1"], ["z"])]),
    Case("Sqrt", low=0.2),
    Case("Squeeze", ints(1), shape=(2, 1, 3)),
    Case("Squeeze", shape=(2, 1, 3), opset=11, axes=[-2]),
    Case("Sub", arr(5)),
    Case("Sum", arr(5), arr(2, 1)),
    Case("Tanh"),
    Case("ThresholdedRelu", alpha=0.5),
    Case("Transpose", shape=IMAGE, perm=[0, 2, 3, 1]),
    Case("Transpose"),
    Case("Unsqueeze", ints(-1, 1)),
    Case("Unsqueeze", opset=11, axes=[0, 3]),
]


def logic(op: str) -> Any:
    """Boolean operators, between comparisons of the input and a choice by their result."""
    two = op != "Not"
    nodes = [
        helper.make_node("Greater", ["x", "low"], ["a"]),
        helper.make_node("Less", ["x", "high"], ["b"]),
        helper.make_node(op, ["a", "b"] if two else ["a"], ["y0"]),
        *where(),
    ]
    case = Case("Identity")
    model = case.model()
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.output[0].name = "chosen"
    for name, value in (("low", -0.5), ("high", 0.5)):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    return model


def shapes() -> Any:
    """A flattening as exporters write it: Shape, Gather, Unsqueeze, Concat, Reshape."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], start=0, end=3),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Unsqueeze", ["n", "axes"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y0"]),
    ]
    model = Case("Flatten", shape=IMAGE).model()
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for name, value in (("zero", np.array(0)), ("axes", ints(0)), ("rest", ints(-1))):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return model


MODELS = [(repr(case), case.model, case) for case in CASES] + [
    *((op, lambda op=op: logic(op), Case("Identity")) for op in ("And", "Or", "Not")),
    ("Shape", shapes, Case("Flatten", shape=IMAGE)),
]


def reference(model: Any, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(("build", "case"), [m[1:] for m in MODELS], ids=[m[0] for m in MODELS])
def test_same_answers_and_true_gradients(build: Any, case: Case) -> None:
    model = build()
    onnx.checker.check_model(model)
    rng = np.random.default_rng(1)
    x = rng.uniform(case.low, case.high, case.shape).astype(np.float32)
    expected = reference(model, x)
    twin = convert(model, "x", model.graph.output[0].name)
    got = twin(torch.from_numpy(x))
    assert got.shape == expected.shape
    assert np.abs(got.numpy() - expected).max() <= 1e-5 * max(np.abs(expected).max(), 1.0)

    # The directional derivative of a random projection, against central differences in float64.
    twin = twin.double()
    leaf = torch.from_numpy(x).double().requires_grad_()
    output = twin(leaf)
    weight = torch.from_numpy(rng.normal(size=tuple(output.shape)))
    (gradient,) = torch.autograd.grad((output * weight).sum(), leaf)
    direction = torch.from_numpy(rng.normal(size=case.shape))
    h = 1e-6
    with torch.no_grad():
        ahead, behind = twin(leaf + h * direction), twin(leaf - h * direction)
    numeric = float(((ahead - behind) * weight).sum() / (2 * h))
    analytic = float((gradient * direction).sum())
    assert analytic == pytest.approx(numeric, rel=1e-4, abs=1e-5)
    assert gradient.abs().max() > 0


def test_no_operator_is_left_untried() -> None:
    tried = {node.op_type for _, build, _ in MODELS for node in build().graph.node}
    assert tried == set(OPERATORS)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (Case("ArgMax", axis=1, tail=[cast()]), "operator ArgMax"),
        (Case("Round"), "operator Round"),
        (Case("AveragePool", shape=IMAGE, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), "ceil_mode"),
        (Case("AveragePool", shape=IMAGE, kernel_shape=[2, 2], dilations=[2, 2]), "dilations"),
        (
            Case("MaxPool", shape=IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1], ceil_mode=1),
            "MaxPool with ceil_mode=1 and padding",
        ),
        (
            Case("MaxPool", shape=IMAGE, kernel_shape=[2, 2], outputs=2, tail=[cast("y1")]),
            "the second output of MaxPool",
        ),
        (Case("Cast", to=TensorProto.INT64, tail=[cast()]), "Cast from torch.float32 to torch.int64"),
        (Case("Pad", ints(1, 0, 0, 0), mode="edge"), "Pad with mode=edge"),
        (Case("Dropout", None, np.array(True), opset=13), "training"),
    ],
)
def test_what_has_no_twin_is_named(case: Case, said: str) -> None:
    model = case.model()
    x = torch.rand(case.shape)
    with pytest.raises(Unsupported, match=said):
        convert(model, "x", model.graph.output[0].name)(x)


def test_attributes_that_are_not_honoured_are_refused() -> None:
    model = Case("BatchNormalization", arr(3), arr(3), arr(3), abs(arr(3)), shape=IMAGE, opset=7).model()
    model.graph.node[0].attribute.append(helper.make_attribute("spatial", 0))
    with pytest.raises(Unsupported, match="BatchNormalization with spatial"):
        convert(model, "x", "y0")


def test_old_operator_sets_are_refused() -> None:
    model = Case("Relu", opset=7).model()
    model.opset_import[0].version = 6
    with pytest.raises(Unsupported, match="operator set 6"):
        convert(model, "x", "y0")
