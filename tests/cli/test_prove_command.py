"""`redoubt prove`: answers, exit codes, the competition's format, bad input."""

import re
import sys

import onnx
import pytest
import torch
from onnx import helper

from redoubt.cli.app import run
from small_networks import mlp, onnx_of


@pytest.fixture(name="net")
def _net(tmp_path):
    net = mlp(5, 8, 8, 3, seed=1)
    return net, onnx_of(net, tmp_path / "net.onnx")


def property_file(folder, condition, low=0.4, high=0.6, inputs=5, outputs=3):
    lines = [f"(declare-const X_{i} Real)" for i in range(inputs)]
    lines += [f"(declare-const Y_{j} Real)" for j in range(outputs)]
    lines += [f"(assert (<= X_{i} {high}))\n(assert (>= X_{i} {low}))" for i in range(inputs)]
    path = folder / "p.vnnlib"
    path.write_text("\n".join([*lines, f"(assert {condition})"]))
    return path


def told(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["redoubt", "prove", *map(str, arguments)])
    code = run()
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_unsat(net, tmp_path, capsys, monkeypatch):
    code, out, _ = told(capsys, monkeypatch, net[1], property_file(tmp_path, "(<= Y_0 -50)"))
    assert (code, out) == (0, "unsat\n")


def test_sat_with_a_counterexample_that_the_network_agrees_to(net, tmp_path, capsys, monkeypatch):
    code, out, _ = told(capsys, monkeypatch, net[1], property_file(tmp_path, "(or (<= Y_0 -50) (<= Y_1 50))"))
    assert code == 1
    first, _, rest = out.partition("\n")
    assert first == "sat"
    values = {name: float(value) for name, value in re.findall(r"\(([XY]_\d) (\S+?)\)", rest)}
    assert sorted(values) == [*(f"X_{i}" for i in range(5)), *(f"Y_{j}" for j in range(3))]
    assert rest.count("(") == rest.count(")") == 9
    x = torch.tensor([[values[f"X_{i}"] for i in range(5)]])
    assert bool(((x.double() >= 0.4) & (x.double() <= 0.6)).all())
    y = [values[f"Y_{j}"] for j in range(3)]
    assert torch.allclose(net[0](x), torch.tensor([y]), atol=1e-5)


def test_timeout_claims_nothing(tmp_path, capsys, monkeypatch):
    hard = onnx_of(mlp(30, 60, 60, 60, 2, gain=3.0), tmp_path / "hard.onnx")
    wanted = property_file(tmp_path, "(<= (- Y_0 Y_1) -300)", 0, 1, 30, 2)
    assert told(capsys, monkeypatch, hard, wanted, "--timeout", "0")[:2] == (2, "timeout\n")


def exponential(path):
    model = onnx.load(path)
    model.graph.node.append(helper.make_node("Exp", [model.graph.output[0].name], ["far"]))
    model.graph.output[0].name = "far"
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda net, prop: prop.write_text(prop.read_text() + "\n(assert (< Y_0 1))"),
            "p.vnnlib:20: unknown condition",
        ),
        (lambda net, prop: property_file(prop.parent, "(<= Y_0 0)", inputs=4), "is about 4 inputs and 3 outputs"),
        (lambda net, prop: net.write_bytes(b"\x08"), "net.onnx"),
        (lambda net, prop: exponential(net), "operator Exp (node that makes 'far')"),
        (lambda net, prop: net.unlink(), "cannot read"),
    ],
)
def test_bad_input_ends_with_3_and_says_what_is_wrong(net, tmp_path, capsys, monkeypatch, spoil, said):
    wanted = property_file(tmp_path, "(<= Y_0 0)")
    spoil(net[1], wanted)
    code, out, err = told(capsys, monkeypatch, net[1], wanted)
    assert (code, out) == (3, "")
    assert said in err
