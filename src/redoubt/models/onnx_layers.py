"""ONNX operators of neural layers: convolution, pooling, normalisation, matrix products, activations."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from redoubt.models.onnx_node import Inputs, Node, Operator, Unsupported, maybe, need, operator

_CONV = (F.conv1d, F.conv2d, F.conv3d)
_MAX = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_AVG = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def window(node: Node, x: Tensor, kernel: list[int]) -> tuple[int, list[int], list[int], list[tuple[int, int]]]:
    """Spatial rank less one, strides, dilations, and the padding before and after each spatial axis."""
    spatial = x.ndim - 2
    if not 1 <= spatial <= 3 or len(kernel) != spatial:
        raise Unsupported(f"{node.op} with {spatial} spatial axes and kernel {kernel}")
    strides = node.integers("strides") or [1] * spatial
    dilations = node.integers("dilations") or [1] * spatial
    auto = node.text("auto_pad", "NOTSET")
    pads = node.integers("pads") or [0] * (2 * spatial)
    if auto == "NOTSET":
        return spatial - 1, strides, dilations, list(zip(pads[:spatial], pads[spatial:], strict=True))
    if auto == "VALID":
        return spatial - 1, strides, dilations, [(0, 0)] * spatial
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise Unsupported(f"{node.op} with auto_pad={auto}")
    same = []
    for size, k, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + dilation * (k - 1) + 1 - size, 0)
        small, large = total // 2, total - total // 2
        same.append((small, large) if auto == "SAME_UPPER" else (large, small))
    return spatial - 1, strides, dilations, same


def _padded(x: Tensor, pads: list[tuple[int, int]], value: float) -> Tensor:
    if not any(sum(pair) for pair in pads):
        return x
    return F.pad(x, [side for pair in reversed(pads) for side in pair], value=value)


def _conv(node: Node, inputs: Inputs) -> Tensor:
    x, weight, bias = need(inputs, 0), need(inputs, 1), maybe(inputs, 2)
    rank, strides, dilations, pads = window(node, x, list(weight.shape[2:]))
    groups = node.integer("group", 1)
    if all(before == after for before, after in pads):
        return _CONV[rank](x, weight, bias, strides, [before for before, _ in pads], dilations, groups)
    return _CONV[rank](_padded(x, pads, 0.0), weight, bias, strides, 0, dilations, groups)


def rounds_up(node: Node, x: Tensor, kernel: list[int], strides: list[int], pads: list[tuple[int, int]]) -> bool:
    """Whether rounding the output size up makes a difference."""
    sizes = [size + sum(pair) for size, pair in zip(x.shape[2:], pads, strict=True)]
    exact = all((size - k) % stride == 0 for size, k, stride in zip(sizes, kernel, strides, strict=True))
    return bool(node.integer("ceil_mode", 0)) and not exact


def _max_pool(node: Node, inputs: Inputs) -> Tensor:
    x, kernel = need(inputs, 0), node.integers("kernel_shape") or []
    rank, strides, dilations, pads = window(node, x, kernel)
    spans = [dilation * (k - 1) + 1 for k, dilation in zip(kernel, dilations, strict=True)]
    ceil = rounds_up(node, x, spans, strides, pads)
    if ceil and any(after for _, after in pads):
        raise Unsupported("MaxPool with ceil_mode=1 and padding at the end")
    return _MAX[rank](_padded(x, pads, -torch.inf), kernel, strides, 0, dilations, ceil_mode=ceil)


def _average_pool(node: Node, inputs: Inputs) -> Tensor:
    x, kernel = need(inputs, 0), node.integers("kernel_shape") or []
    rank, strides, dilations, pads = window(node, x, kernel)
    if any(dilation != 1 for dilation in dilations):
        raise Unsupported(f"AveragePool with dilations={dilations}")
    if rounds_up(node, x, kernel, strides, pads):
        raise Unsupported("AveragePool with ceil_mode=1")
    pool = _AVG[rank]
    mean = pool(_padded(x, pads, 0.0), kernel, strides)
    if node.integer("count_include_pad", 0) or not any(sum(pair) for pair in pads):
        return mean
    return mean / pool(_padded(torch.ones_like(x[:1, :1]), pads, 0.0), kernel, strides)


def _global_average(_node: Node, inputs: Inputs) -> Tensor:
    x = need(inputs, 0)
    return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


def _global_max(_node: Node, inputs: Inputs) -> Tensor:
    x = need(inputs, 0)
    return x.amax(dim=tuple(range(2, x.ndim)), keepdim=True)


def _batch_norm(node: Node, inputs: Inputs) -> Tensor:
    if node.integer("training_mode", 0):
        raise Unsupported("BatchNormalization with training_mode=1")
    x, scale, bias, mean, var = (need(inputs, i) for i in range(5))
    return F.batch_norm(x, mean, var, scale, bias, training=False, eps=node.number("epsilon", 1e-5))


def _instance_norm(node: Node, inputs: Inputs) -> Tensor:
    x, scale, bias = (need(inputs, i) for i in range(3))
    return F.instance_norm(x, weight=scale, bias=bias, eps=node.number("epsilon", 1e-5))


def _layer_norm(node: Node, inputs: Inputs) -> Tensor:
    x, scale, bias = need(inputs, 0), need(inputs, 1), maybe(inputs, 2)
    shape = list(x.shape[node.integer("axis", -1) :])
    normal = F.layer_norm(x, shape, eps=node.number("epsilon", 1e-5)) * scale
    return normal if bias is None else normal + bias


def _gemm(node: Node, inputs: Inputs) -> Tensor:
    a, b, c = need(inputs, 0), need(inputs, 1), maybe(inputs, 2)
    a = a.T if node.integer("transA", 0) else a
    b = b.T if node.integer("transB", 0) else b
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    if c is None:
        return alpha * (a @ b)
    return torch.addmm(c, a, b, alpha=alpha, beta=beta)


def _softmax(node: Node, inputs: Inputs) -> Tensor:
    x = need(inputs, 0)
    soft = F.log_softmax if node.op == "LogSoftmax" else F.softmax
    if node.opset >= 13:
        return soft(x, dim=node.integer("axis", -1))
    # Before operator set 13 the axes from `axis` on were flattened into one.
    axis = node.integer("axis", 1) % max(x.ndim, 1)
    return soft(x.reshape(math.prod(x.shape[:axis]), -1), dim=1).reshape(x.shape)


def _dropout(_node: Node, inputs: Inputs) -> Tensor:
    training = maybe(inputs, 2)
    if training is not None and bool(training):
        raise Unsupported("Dropout in training mode")
    return need(inputs, 0)


def _gelu(node: Node, inputs: Inputs) -> Tensor:
    return F.gelu(need(inputs, 0), approximate=node.text("approximate", "none"))


def _p_relu(_node: Node, inputs: Inputs) -> Tensor:
    x, slope = need(inputs, 0), need(inputs, 1)
    return torch.where(x >= 0, x, slope * x)


def _leaky_relu(node: Node, inputs: Inputs) -> Tensor:
    return F.leaky_relu(need(inputs, 0), node.number("alpha", 0.01))


def _elu(node: Node, inputs: Inputs) -> Tensor:
    return F.elu(need(inputs, 0), node.number("alpha", 1.0))


def _celu(node: Node, inputs: Inputs) -> Tensor:
    return F.celu(need(inputs, 0), node.number("alpha", 1.0))


def _selu(node: Node, inputs: Inputs) -> Tensor:
    gamma = node.number("gamma", 1.0507009873554805)
    return gamma * F.elu(need(inputs, 0), node.number("alpha", 1.6732632423543772))


def _thresholded_relu(node: Node, inputs: Inputs) -> Tensor:
    return F.threshold(need(inputs, 0), node.number("alpha", 1.0), 0.0)


def _hard_sigmoid(node: Node, inputs: Inputs) -> Tensor:
    return (need(inputs, 0) * node.number("alpha", 0.2) + node.number("beta", 0.5)).clamp(0.0, 1.0)


_WINDOW = ("auto_pad", "dilations", "kernel_shape", "pads", "strides")

LAYERS: dict[str, Operator] = {
    "AveragePool": operator(_average_pool, *_WINDOW, "ceil_mode", "count_include_pad"),
    "BatchNormalization": operator(_batch_norm, "epsilon", "momentum", "training_mode"),
    "Celu": operator(_celu, "alpha"),
    "Conv": operator(_conv, *_WINDOW, "group"),
    "Dropout": operator(_dropout, "ratio", "seed"),
    "Elu": operator(_elu, "alpha"),
    "Gelu": operator(_gelu, "approximate"),
    "Gemm": operator(_gemm, "alpha", "beta", "transA", "transB"),
    "GlobalAveragePool": operator(_global_average),
    "GlobalMaxPool": operator(_global_max),
    "HardSigmoid": operator(_hard_sigmoid, "alpha", "beta"),
    "HardSwish": operator(lambda _node, inputs: F.hardswish(need(inputs, 0))),
    "InstanceNormalization": operator(_instance_norm, "epsilon"),
    "LayerNormalization": operator(_layer_norm, "axis", "epsilon", "stash_type"),
    "LeakyRelu": operator(_leaky_relu, "alpha"),
    "LogSoftmax": operator(_softmax, "axis"),
    "MatMul": operator(lambda _node, inputs: need(inputs, 0) @ need(inputs, 1)),
    "MaxPool": operator(_max_pool, *_WINDOW, "ceil_mode", "storage_order"),
    "Mish": operator(lambda _node, inputs: F.mish(need(inputs, 0))),
    "PRelu": operator(_p_relu),
    "Relu": operator(lambda _node, inputs: F.relu(need(inputs, 0))),
    "Selu": operator(_selu, "alpha", "gamma"),
    "Sigmoid": operator(lambda _node, inputs: need(inputs, 0).sigmoid()),
    "Softmax": operator(_softmax, "axis"),
    "Softplus": operator(lambda _node, inputs: F.softplus(need(inputs, 0))),
    "Softsign": operator(lambda _node, inputs: F.softsign(need(inputs, 0))),
    "Tanh": operator(lambda _node, inputs: need(inputs, 0).tanh()),
    "ThresholdedRelu": operator(_thresholded_relu, "alpha"),
}
