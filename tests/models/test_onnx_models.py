"""ONNX files as models: exports of torch, answers, gradients, and files that nobody should trust."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from redoubt.models import (
    Differentiable,
    DifferentiableOnnxModel,
    OnnxModel,
    as_differentiable,
    load_model,
    nowhere,
)
from redoubt.models.onnx_node import Node, Operator
from redoubt.models.onnx_torch import OPERATORS
from redoubt.records import Access, InputFace, ModelError, ModelSource, Place

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's own
IMAGE = (1, 8, 8)


def source(name: str = "m.onnx", shape: tuple[int, ...] = IMAGE, classes: int = 3, **more: Any) -> ModelSource:
    face = InputFace(shape=shape, range=(0.0, 1.0), mean=more.pop("mean", None), std=more.pop("std", None))
    return ModelSource(source=f"onnx:{name}", input=face, classes=classes, **more)


def place(*key: str) -> Place:
    return Place("policy.yaml:" + ".".join(key), 4)


def small(*end: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(64, 3),
        *end,
    ).eval()


class Attention(nn.Module):
    """Patches, one attention layer, layer norm, GELU: the operators of a small vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 8, 4, 4)
        self.qkv = nn.Linear(8, 24)
        self.norm = nn.LayerNorm(8)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        b, n, c = tokens.shape
        q, k, v = self.qkv(self.norm(tokens)).reshape(b, n, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
        mixed = ((q @ k.transpose(-2, -1)) * 0.5).softmax(-1) @ v
        tokens = tokens + mixed.transpose(1, 2).reshape(b, n, c)
        return self.head((tokens + self.mlp(self.norm(tokens))).mean(1))


class Residual(nn.Module):
    """A residual block with strides, an average pool and a hard-swish."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(1, 6, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.two = nn.Conv2d(6, 6, 3, padding=1, groups=3)
        self.act = nn.Hardswish()
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm(self.one(x)))
        y = torch.cat([y[:, :3], y[:, 3:]], 1) + self.two(y)
        return self.head(nn.functional.adaptive_avg_pool2d(self.pool(nn.functional.pad(y, (1, 1, 1, 1))), 1).flatten(1))


def export(module: nn.Module, path: Path, rows: int | None = None, opset: int = 17, shape: Any = IMAGE) -> None:
    torch.onnx.export(
        module,
        (torch.rand(rows or 2, *shape),),
        str(path),
        dynamo=False,
        opset_version=opset,
        input_names=["x"],
        dynamic_axes=None if rows else {"x": {0: "batch"}},
    )


def check_twin(model: Differentiable, module: nn.Module, x: Tensor) -> None:
    """Same logits and gradients as the module the file was exported from."""
    x = x.requires_grad_()
    mine, theirs = model.logits(x), module(x)
    assert torch.allclose(mine, theirs, atol=1e-5)
    weight = torch.randn(mine.shape, generator=torch.Generator().manual_seed(1))
    (g,) = torch.autograd.grad((mine * weight).sum(), x)
    (h,) = torch.autograd.grad((theirs * weight).sum(), x)
    assert torch.allclose(g, h, atol=1e-5)
    assert torch.allclose(model.query(x.detach()).scores, theirs, atol=1e-5)  # type: ignore[arg-type]


# The exporter writes hard-swish and attention from operator set 13 on.
EXPORTS = [
    (small, 9),
    (small, 11),
    *((build, opset) for build in (small, Residual, Attention) for opset in (13, 17, 20)),
]


@pytest.mark.parametrize(("build", "opset"), EXPORTS)
def test_exports_of_torch_are_differentiable(tmp_path: Path, build: Any, opset: int) -> None:
    torch.manual_seed(3)
    module = build().eval()
    export(module, tmp_path / "m.onnx", opset=opset)
    model = load_model(source(), tmp_path, nowhere)
    assert isinstance(model, DifferentiableOnnxModel)
    assert model.access == Access.GRADIENTS
    assert as_differentiable(model) is model
    check_twin(model, module, torch.rand(5, *IMAGE))


def test_the_newer_exporter(tmp_path: Path) -> None:
    module = Attention().eval()
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        module,
        (torch.rand(2, *IMAGE),),
        str(tmp_path / "m.onnx"),
        dynamo=True,
        dynamic_shapes=({0: batch},),
        verbose=False,
    )
    model = load_model(source(), tmp_path, nowhere)
    assert isinstance(model, DifferentiableOnnxModel)
    check_twin(model, module, torch.rand(5, *IMAGE))


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("build", [small, Attention])
def test_a_fixed_batch_is_looped(tmp_path: Path, rows: int, build: Any) -> None:
    module = build().eval()
    export(module, tmp_path / "m.onnx", rows=rows)
    model = load_model(source(), tmp_path, nowhere)
    assert isinstance(model, DifferentiableOnnxModel)
    check_twin(model, module, torch.rand(6, *IMAGE))
    assert model.query(torch.rand(0, *IMAGE)).labels.shape == (0,)


def test_normalisation_is_behind_the_face(tmp_path: Path) -> None:
    module = small()
    export(module, tmp_path / "m.onnx")
    model = load_model(source(mean=(0.3,), std=(0.2,)), tmp_path, nowhere)
    x = torch.rand(4, *IMAGE)
    expected = module((x - 0.3) / 0.2)
    assert torch.allclose(model.query(x).scores, expected, atol=1e-4)  # type: ignore[arg-type]
    assert torch.allclose(as_differentiable(model).logits(x), expected, atol=1e-4)


def test_gradients_by_finite_differences(tmp_path: Path) -> None:
    export(Attention().eval(), tmp_path / "m.onnx")
    model = as_differentiable(load_model(source(), tmp_path, nowhere))
    x = torch.rand(3, *IMAGE, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.logits(x)[:, 1].sum(), x)
    step = torch.randn_like(x)
    with torch.no_grad():
        ahead, behind = (model.query(x + s * 1e-2 * step).scores[:, 1].sum() for s in (1, -1))  # type: ignore[index]
    assert float((gradient * step).sum()) == pytest.approx(float((ahead - behind) / 2e-2), rel=0.02, abs=1e-3)


def test_a_final_softmax_keeps_its_gradients(tmp_path: Path) -> None:
    module = small(nn.Softmax(1))
    with torch.no_grad():
        module[6].weight.mul_(2000)  # type: ignore[index, union-attr, operator]
    export(module, tmp_path / "m.onnx")
    x = torch.rand(8, *IMAGE, requires_grad=True)
    model = as_differentiable(load_model(source(outputs="probabilities"), tmp_path, nowhere))
    probabilities = module(x.detach())
    assert (probabilities == 0).any()  # the softmax is so sure that its own gradient is gone
    assert torch.allclose(model.query(x.detach()).scores.exp(), probabilities, atol=1e-5)  # type: ignore[union-attr]
    logits = model.logits(x)
    assert torch.allclose(logits.softmax(1), probabilities, atol=1e-3)
    (gradient,) = torch.autograd.grad((logits[:, 0] - logits[:, 1]).sum(), x)
    assert (gradient.flatten(1).abs().amax(1) > 1).all()


def test_a_final_sigmoid_is_binary(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 1)
    export(nn.Sequential(layer, nn.Sigmoid()), tmp_path / "m.onnx", shape=(4,))
    model = as_differentiable(load_model(source(shape=(4,), classes=2, outputs="probabilities"), tmp_path, nowhere))
    x = torch.rand(6, 4)
    z = layer(x)[:, 0]
    assert torch.allclose(model.logits(x), torch.stack([-z / 2, z / 2], 1), atol=1e-6)
    assert torch.allclose(model.query(x).scores.exp()[:, 1], z.sigmoid(), atol=1e-6)  # type: ignore[union-attr]


# ── hand-made graphs ─────────────────────────────────────────────────────────────────────────────────────────────


def graph(nodes: list[Any], folder: Path, domains: tuple[str, ...] = (), **weights: np.ndarray) -> Any:
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "k"])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=8)
    onnx.save(model, folder / "m.onnx")
    return model


W = np.random.default_rng(0).normal(size=(4, 3))


def test_operators_without_gradient_leave_a_model_that_can_be_asked(tmp_path: Path) -> None:
    graph(
        [
            helper.make_node("Round", ["x"], ["r"]),
            helper.make_node("Floor", ["r"], ["f"]),
            helper.make_node("MatMul", ["f", "w"], ["y"]),
        ],
        tmp_path,
        w=W,
    )
    model = load_model(source(shape=(4,)), tmp_path, nowhere)
    assert isinstance(model, OnnxModel)
    assert model.access == Access.SCORES
    assert "operators Floor, Round" in model.why_not_differentiable
    x = torch.rand(5, 4)
    assert torch.allclose(model.query(x).scores, x.round() @ torch.from_numpy(W).float(), atol=1e-6)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="operators Floor, Round") as caught:
        as_differentiable(model)
    assert caught.value.remedy


def test_a_twin_that_differs_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(_node: Node, inputs: Any) -> Tensor:
        return inputs[0] @ inputs[1] * 1.001

    monkeypatch.setitem(OPERATORS, "MatMul", Operator(wrong))
    graph([helper.make_node("MatMul", ["x", "w"], ["y"])], tmp_path, w=W)
    model = load_model(source(shape=(4,)), tmp_path, nowhere)
    with pytest.raises(ModelError, match=r"differs from onnxruntime by 0\.001 of the largest score"):
        as_differentiable(model)


def test_attributes_without_a_twin_are_named(tmp_path: Path) -> None:
    graph(
        [
            helper.make_node("Reshape", ["x", "shape"], ["i"]),
            helper.make_node("AveragePool", ["i"], ["p"], kernel_shape=[2], strides=[2], ceil_mode=1),
            helper.make_node("Flatten", ["p"], ["y"]),
        ],
        tmp_path,
    )
    model = onnx.load(tmp_path / "m.onnx")
    model.graph.node[0].CopyFrom(helper.make_node("Slice", ["x", "a", "b", "c"], ["s"]))
    model.graph.node.insert(1, helper.make_node("Unsqueeze", ["s", "c"], ["i"]))
    for name, value in (("a", 0), ("b", 3), ("c", 1)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([value]), name))
    onnx.save(model, tmp_path / "m.onnx")
    loaded = load_model(source(shape=(4,), classes=2), tmp_path, nowhere)
    with pytest.raises(ModelError, match="AveragePool with ceil_mode=1"):
        as_differentiable(loaded)


def refused(folder: Path, said: str, **more: Any) -> ModelError:
    with pytest.raises(ModelError, match=said) as caught:
        load_model(source(**({"shape": (4,)} | more)), folder, place)
    return caught.value


def test_operators_of_other_domains_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("Evil", ["x"], ["y"], domain="com.example")
    graph([node], tmp_path, domains=("com.example",))
    assert refused(tmp_path, r"operator com\.example\.Evil is none of ONNX's").where == place("source")


def test_functions_defined_in_the_file_are_inlined(tmp_path: Path) -> None:
    nodes = [helper.make_node("Twice", ["x"], ["t"], domain="mine"), helper.make_node("MatMul", ["t", "w"], ["y"])]
    model = graph(nodes, tmp_path, domains=("mine",), w=W)
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    model.functions.append(helper.make_function("mine", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    onnx.save(model, tmp_path / "m.onnx")
    x = torch.rand(3, 4)
    logits = as_differentiable(load_model(source(shape=(4,)), tmp_path, nowhere)).logits(x)
    assert torch.allclose(logits, 2 * x @ torch.from_numpy(W).float(), atol=1e-6)


@pytest.mark.parametrize(("named", "slope"), [({}, 0.5), ({"alpha": 0.25}, 0.25)])
def test_the_default_of_a_function_s_attribute_counts_where_a_call_names_none(
    tmp_path: Path, named: dict[str, float], slope: float
) -> None:
    """And not ONNX's own default, 0.01, which is left if the function's is dropped."""
    nodes = [
        helper.make_node("Leak", ["x"], ["t"], domain="mine", **named),
        helper.make_node("MatMul", ["t", "w"], ["y"]),
    ]
    model = graph(nodes, tmp_path, domains=("mine",), w=W)
    inner = helper.make_node("LeakyRelu", ["n"], ["b"])
    inner.attribute.add(name="alpha", ref_attr_name="alpha", type=onnx.AttributeProto.FLOAT)
    body = [helper.make_node("Neg", ["a"], ["n"]), inner]
    function = helper.make_function("mine", "Leak", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    function.attribute_proto.append(helper.make_attribute("alpha", 0.5))
    model.functions.append(function)
    onnx.save(model, tmp_path / "m.onnx")
    x = torch.rand(3, 4)
    logits = as_differentiable(load_model(source(shape=(4,)), tmp_path, nowhere)).logits(x)
    assert torch.allclose(logits, -slope * x @ torch.from_numpy(W).float(), atol=1e-6)


def external(folder: Path, location: str, offset: int = 0, length: int = 48) -> None:
    model = graph([helper.make_node("MatMul", ["x", "w"], ["y"])], folder, w=W)
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    (folder / "m.onnx").write_bytes(model.SerializeToString())


def test_external_tensors_beside_the_model_are_read(tmp_path: Path) -> None:
    external(tmp_path, "w.bin")
    (tmp_path / "w.bin").write_bytes(W.astype(np.float32).tobytes())
    model = load_model(source(shape=(4,)), tmp_path, nowhere)
    x = torch.rand(3, 4)
    assert torch.allclose(model.query(x).scores, x @ torch.from_numpy(W).float(), atol=1e-6)  # type: ignore[arg-type]
    first = model.digest()
    (tmp_path / "w.bin").write_bytes((W + 1).astype(np.float32).tobytes())
    assert load_model(source(shape=(4,)), tmp_path, nowhere).digest() != first


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "link", "", "sub/../../secret"])
def test_external_tensors_elsewhere_are_refused(tmp_path: Path, location: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret").write_bytes(W.astype(np.float32).tobytes())
    (home / "link").symlink_to(tmp_path / "secret")
    external(home, location)
    assert "nothing in it was executed" in refused(home, "tensor w is read from .*, which is no").what


def test_external_tensors_that_do_not_fit_their_file(tmp_path: Path) -> None:
    external(tmp_path, "w.bin", offset=8)
    (tmp_path / "w.bin").write_bytes(bytes(48))
    refused(tmp_path, "beyond the end of 'w.bin'")
    external(tmp_path, "gone.bin")
    refused(tmp_path, "gone.bin', which is no plain file")
    external(tmp_path, "w.bin", length=8)
    refused(tmp_path, "has 8 bytes in 'w.bin' for 48")


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    external(tmp_path, "w.bin")
    (tmp_path / "w.bin").write_bytes(bytes(48))
    size = (tmp_path / "m.onnx").stat().st_size
    monkeypatch.setattr("redoubt.models.onnx_file.MAX_BYTES", size + 47)
    refused(tmp_path, "w.bin is larger than 47 bytes")
    monkeypatch.setattr("redoubt.models.onnx_file.MAX_BYTES", size - 1)
    refused(tmp_path, "m.onnx is larger than")


@pytest.mark.parametrize("raw", [b"", b"words, not a graph", b"\x80\x04K\x01.", b"\x08\x07" + b"\xff" * 50])
def test_other_files_are_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(raw)
    assert refused(tmp_path, "m.onnx is (not a sound ONNX file|a pickle, not an ONNX model)").where == place("source")


def test_faces_that_do_not_fit(tmp_path: Path) -> None:
    graph([helper.make_node("MatMul", ["x", "w"], ["y"])], tmp_path, w=W)
    error = refused(tmp_path, r"takes inputs of shape \[4\], the policy says \[5\]", shape=(5,))
    assert error.where == place("input", "shape")
    assert refused(tmp_path, r"answers \[2, 3\] to 2 inputs; expected \[2, 7\]", classes=7).where == place("classes")
    refused(tmp_path, "cannot read", name="gone.onnx")


def test_which_output_holds_the_scores(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("ArgMax", ["y"], ["l"], axis=1)]
    model = graph(nodes, tmp_path, w=W)
    model.graph.output.insert(0, helper.make_tensor_value_info("l", TensorProto.INT64, ["batch", 1]))
    onnx.save(model, tmp_path / "m.onnx")
    assert isinstance(load_model(source(shape=(4,)), tmp_path, nowhere), DifferentiableOnnxModel)
    del model.graph.output[1]
    onnx.save(model, tmp_path / "m.onnx")
    refused(tmp_path, "cannot tell which output holds the scores of 3 classes")


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    model = graph([helper.make_node("Add", ["x", "z"], ["y"])], tmp_path)
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 4]))
    onnx.save(model, tmp_path / "m.onnx")
    refused(tmp_path, r"takes 2 inputs \(x, z\)", classes=4)
