"""The graph computes what the network computes, from torch and from ONNX, or refuses it by name."""

import pytest
import torch
from torch import nn

from models.test_onnx_operators import CASES
from redoubt.bounds import from_onnx, from_torch
from redoubt.bounds.network.from_onnx import MOVES, RULES
from redoubt.bounds.network.graph import without_largest
from redoubt.bounds.network.onnx_network import load_network
from redoubt.models.onnx_node import Unsupported
from redoubt.models.onnx_torch import convert
from redoubt.records import ModelError
from small_networks import NETS, mlp, onnx_of


@pytest.mark.parametrize("name", NETS)
def test_the_graph_of_a_module_computes_the_same(name):
    net, shape = NETS[name]
    x = torch.randn(5, *shape, dtype=torch.float64)
    graph = from_torch(net, shape).frozen()
    with torch.no_grad():
        wanted = net.double()(x)
        net.float()
    assert torch.allclose(graph(x.flatten(1)), wanted, atol=1e-9)
    assert torch.allclose(without_largest(graph)(x.flatten(1)), wanted, atol=1e-9)


@pytest.mark.parametrize("case", [c for c in CASES if c.op in RULES or c.op in MOVES], ids=repr)
def test_each_onnx_operator_computes_the_same_or_is_refused(case):
    model = case.model()
    module = convert(model, "x", model.graph.output[0].name).eval()
    x = torch.randn(1, *case.shape[1:])
    try:
        wanted = module(x)
    except RuntimeError:
        pytest.skip("made for a batch of two")
    try:
        graph = from_onnx(module, x.shape)
    except Unsupported as reason:
        told = str(reason)
        assert case.op in told or "shape" in told or "spatial" in told or "batch" in told or "output" in told
        return
    assert torch.allclose(graph.frozen()(x.flatten(1).double()), wanted.flatten()[None].double(), atol=1e-4)


def test_most_cases_of_the_known_operators_are_not_refused():
    refused = []
    for case in (c for c in CASES if c.op in RULES):
        model = case.model()
        try:
            from_onnx(convert(model, "x", model.graph.output[0].name).eval(), (1, *case.shape[1:]))
        except Unsupported:
            refused.append(repr(case))
    assert len(refused) <= 0.35 * sum(c.op in RULES for c in CASES), refused


@pytest.mark.parametrize(
    ("net", "named"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.GELU()), "GELU"),
        (nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=1)), "Softmax"),
        (nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.MaxPool2d(2, ceil_mode=True)), "ceil_mode"),
        (nn.LSTM(4, 4), "LSTM"),
    ],
)
def test_what_is_not_known_is_refused_by_name(net, named):
    with pytest.raises(Unsupported, match=named):
        from_torch(net, (4,))


class Squares(nn.Module):
    def forward(self, x):
        return x * x


class Branches(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_products_and_branches_on_values_are_refused():
    with pytest.raises(Unsupported, match="a product of computed values"):
        from_torch(Squares(), (4,))
    with pytest.raises(Unsupported, match=r"torch\.fx cannot trace"):
        from_torch(Branches(), (4,))


def test_shapes_that_disagree_are_refused():
    with pytest.raises(Unsupported, match="a product of shapes"):
        from_torch(mlp(4, 3, 2), (5,))


def test_a_graph_keeps_the_gradients_of_its_weights():
    net = mlp(3, 4, 2)
    from_torch(net, (3,))(torch.rand(2, 3)).sum().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in net.parameters())


def test_a_file_is_read_and_runs_as_onnxruntime_runs_it(tmp_path):
    net = mlp(5, 6, 3)
    network = load_network(onnx_of(net, tmp_path / "net.onnx"))
    x = torch.rand(3, 5)
    assert torch.allclose(network.run(x), net(x).detach(), atol=1e-5)
    assert torch.allclose(network.graph.frozen()(x.double()).float(), net(x).detach(), atol=1e-5)


def test_a_file_with_an_operator_without_bounds_is_refused_by_operator_and_node(tmp_path):
    import onnx
    from onnx import helper

    path = onnx_of(mlp(5, 6, 3), tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.node.append(helper.make_node("Exp", [model.graph.output[0].name], ["far"]))
    model.graph.output[0].name = "far"
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"operator Exp \(node that makes 'far'\)"):
        load_network(path)


def test_garbage_is_refused(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match=r"net\.onnx"):
        load_network(tmp_path / "net.onnx")
