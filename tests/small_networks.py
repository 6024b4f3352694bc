"""Small networks for the tests of bounds, and the slow and plain way to bound them."""

from fractions import Fraction
from itertools import pairwise

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn


def mlp(*sizes, act=nn.ReLU, seed=0, gain=1.0):
    torch.manual_seed(seed)
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), act())][:-1]
    net = nn.Sequential(*layers)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(gain)
    return net


class Residual(nn.Module):
    """Convolutions, a residual, batch normalisation, pooling, branches that are joined, arithmetic with constants."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding="same", groups=2)
        self.norm = nn.BatchNorm2d(4)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2.0)
        self.last = nn.Linear(4 * 3 * 3 + 2, 3)

    def forward(self, x):
        y = torch.relu(self.first(x))
        y = y + self.norm(self.second(y))
        y = nn.functional.leaky_relu(nn.functional.max_pool2d(y, 3, 2, 1), 0.1)
        means = y.mean(dim=(2, 3))[:, 1:3].tanh()
        y = torch.cat([y.view(y.size(0), -1), means * 2 - 1], dim=1)
        return self.last(y / 2)


NETS = {
    "mlp": (mlp(4, 8, 8, 3), (4,)),
    "one layer": (nn.Linear(4, 2), (4,)),
    "tanh": (mlp(4, 8, 3, act=nn.Tanh), (4,)),
    "sigmoid": (mlp(4, 8, 3, act=nn.Sigmoid, gain=3.0), (4,)),
    "leaky": (mlp(4, 8, 3, act=lambda: nn.LeakyReLU(0.2)), (4,)),
    "clipped": (mlp(4, 8, 3, act=lambda: nn.Hardtanh(-0.3, 0.4)), (4,)),
    "residual": (Residual().eval(), (2, 6, 6)),
    "pools": (
        nn.Sequential(
            nn.Conv2d(1, 3, 3, stride=2, padding=1),
            nn.BatchNorm2d(3),
            nn.AvgPool2d(2, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2, stride=1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(3, 2),
        ).eval(),
        (1, 7, 7),
    ),
    "sequence": (
        nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(9, 2)),
        (2, 6),
    ),
}


def onnx_of(net, path):
    """A chain of Linear and ReLU as an ONNX file, written by hand."""
    nodes, constants, last = [], [], "x"
    for number, part in enumerate(net):
        name = f"v{number}"
        if isinstance(part, nn.Linear):
            constants += [
                numpy_helper.from_array(part.weight.detach().numpy(), f"w{number}"),
                numpy_helper.from_array(part.bias.detach().numpy(), f"b{number}"),
            ]
            nodes.append(helper.make_node("Gemm", [last, f"w{number}", f"b{number}"], [name], transB=1))
        else:
            nodes.append(helper.make_node("Relu", [last], [name]))
        last = name
    first, final = net[0].in_features, net[-1].out_features
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, first])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, final])],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def exact(tensor):
    """A tensor's numbers as fractions, nested."""
    return [exact(row) for row in tensor] if tensor.dim() else Fraction(tensor.item())


def exact_outputs(net, x):
    """A chain of Linear and ReLU on one input, in exact numbers."""
    for part in net:
        if isinstance(part, nn.Linear):
            weight, bias = exact(part.weight.detach()), exact(part.bias.detach())
            x = [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
        else:
            x = [max(v, Fraction(0)) for v in x]
    return x


def exact_intervals(net, low, high):
    """Interval propagation through such a chain, in exact numbers."""
    for part in net:
        if isinstance(part, nn.Linear):
            weight, bias = exact(part.weight.detach()), exact(part.bias.detach())
            ends = [
                (
                    sum(w * (lo if w > 0 else hi) for w, lo, hi in zip(row, low, high, strict=True)) + b,
                    sum(w * (hi if w > 0 else lo) for w, lo, hi in zip(row, low, high, strict=True)) + b,
                )
                for row, b in zip(weight, bias, strict=True)
            ]
            low, high = [a for a, _ in ends], [b for _, b in ends]
        else:
            low, high = [max(v, Fraction(0)) for v in low], [max(v, Fraction(0)) for v in high]
    return low, high
