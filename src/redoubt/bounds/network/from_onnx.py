"""From the steps of an ONNX graph to a `Graph`."""

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TypeAlias

import torch
from torch import Tensor

from redoubt.bounds.network.build import Builder, Wire
from redoubt.bounds.network.graph import Graph
from redoubt.models.onnx_layers import rounds_up, window
from redoubt.models.onnx_node import Inputs, Node, Unsupported, axes_of
from redoubt.models.onnx_torch import GraphModule

Value: TypeAlias = "Wire | Tensor | None"
Rule: TypeAlias = Callable[[Builder, Node, Sequence[Value]], Wire]

MOVES = (
    *("Cast", "Concat", "Dropout", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape"),
    *("Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),
)


def from_onnx(module: GraphModule, shape: Sequence[int]) -> Graph:
    """The graph of a converted ONNX model.

    Args:
        module: as `convert` makes it.
        shape: of its input, with a batch of one where the model has a batch.

    Raises:
        Unsupported: naming the operator and the value it makes, if there is no rule for it.
    """
    builder = Builder(shape)
    return builder.graph(add_onnx(builder, module, builder.input))


def add_onnx(builder: Builder, module: GraphModule, given: Wire) -> Wire:
    """Add the steps of a converted ONNX model to what is being built."""
    values: dict[str, Value | list[Wire]] = dict(module.constants)
    values[module.given] = given
    for step in module.steps:
        inputs: list[Value] = []
        for name in step.inputs:
            value = values[name] if name else None
            inputs.append(value if not isinstance(value, list) else value[0])
        try:
            made = _play(builder, step.node, inputs, step.operator.run)
        except Unsupported as reason:
            raise Unsupported(f"{reason} (node that makes '{step.outputs[0]}')") from None
        except (RuntimeError, IndexError, ValueError, TypeError) as error:  # torch refuses shapes that disagree
            told = " ".join(str(error).split())[:200]
            raise Unsupported(
                f"{step.node.op} whose shapes disagree: {told} (node that makes '{step.outputs[0]}')"
            ) from error
        values |= dict(zip(step.outputs, made if isinstance(made, list) else [made], strict=False))
    output = values[module.wanted]
    if not isinstance(output, Wire):
        raise Unsupported("a network whose output does not depend on its input")
    return output


def _play(
    builder: Builder, node: Node, inputs: list[Value], run: Callable[[Node, Inputs], Tensor | list[Tensor]]
) -> "Value | list[Value]":
    wires = [value for value in inputs if isinstance(value, Wire)]
    if not wires:
        result = run(node, [value for value in inputs if not isinstance(value, Wire)])
        return list(result) if isinstance(result, list) else result
    if node.op == "Shape":
        return run(node, [torch.empty(wires[0].shape, device="meta")])  # type: ignore[return-value]
    if node.op in MOVES:
        return _moved(builder, node, inputs, run)
    rule = RULES.get(node.op)
    if rule is None:
        raise Unsupported(f"operator {node.op}")
    return rule(builder, node, inputs)


def _moved(
    builder: Builder, node: Node, inputs: list[Value], run: Callable[[Node, Inputs], Tensor | list[Tensor]]
) -> "Wire | list[Value]":
    wires = [value for value in inputs if isinstance(value, Wire)]
    if node.op == "Concat" and len(wires) < len(inputs):
        raise Unsupported("Concat with a constant")
    if node.op != "Concat" and len(wires) > 1:
        raise Unsupported(f"{node.op} with two inputs that are computed")
    if node.op == "Pad":
        _only_zeros(node, inputs)

    def moved(number: int, *numbers: Tensor) -> Tensor:
        left = iter(numbers)
        result = run(node, [next(left) if isinstance(v, Wire) else v for v in inputs])
        return result[number] if isinstance(result, list) else result

    if node.op == "Split":
        return [builder.rearranged(lambda *x, at=at: moved(at, *x), *wires) for at in range(node.outputs)]
    if node.op == "Cast":
        return wires[0]  # only casts between floats are converted, and bounds hold for real numbers
    return builder.rearranged(lambda *x: moved(0, *x), *wires)


def _only_zeros(node: Node, inputs: Sequence[Value]) -> None:
    fill = inputs[2] if len(inputs) > 2 else None
    value = float(fill) if isinstance(fill, Tensor) else node.number("value", 0.0)
    if node.text("mode", "constant") == "constant" and value != 0:
        raise Unsupported(f"Pad with {value:g}")


def _wire(inputs: Sequence[Value], at: int) -> Wire:
    value = inputs[at]
    if not isinstance(value, Wire):
        raise Unsupported(f"an operator whose input {at} is a constant")
    return value


def _fixed(node: Node, inputs: Sequence[Value], at: int) -> Tensor:
    value = inputs[at] if at < len(inputs) else None
    if not isinstance(value, Tensor):
        raise Unsupported(f"{node.op} whose input {at} is computed, not a constant")
    return value


def _optional(node: Node, inputs: Sequence[Value], at: int) -> Tensor | None:
    return None if at >= len(inputs) or inputs[at] is None else _fixed(node, inputs, at)


def _gemm(builder: Builder, node: Node, inputs: Sequence[Value]) -> Wire:
    wire, weight, bias = _wire(inputs, 0), _fixed(node, inputs, 1), _optional(node, inputs, 2)
    if node.integer("transA", 0):
        raise Unsupported("Gemm with transA=1")
    weight = (weight if node.integer("transB", 0) else weight.T) * node.number("alpha", 1.0)
    return builder.dense(wire, weight, None if bias is None else bias * node.number("beta", 1.0))


def _matmul(builder: Builder, _node: Node, inputs: Sequence[Value]) -> Wire:
    first, second = inputs[0], inputs[1]
    if isinstance(first, Wire) and isinstance(second, Tensor) and second.ndim == 2:
        return builder.dense(first, second.T, None)
    if isinstance(first, Wire) and isinstance(second, Tensor) and second.ndim == 1:
        one = builder.dense(first, second[None], None)
        return Wire(one.value, one.shape[:-1])
    if isinstance(first, Tensor) and isinstance(second, Wire) and first.ndim == 2:
        if len(second.shape) == 1:
            return builder.dense(second, first, None)
        turned = builder.rearranged(lambda x: x.transpose(-1, -2), second)
        return builder.rearranged(lambda x: x.transpose(-1, -2), builder.dense(turned, first, None))
    raise Unsupported("MatMul of two computed values, or with a constant of more than two axes")


def _conv(builder: Builder, node: Node, inputs: Sequence[Value]) -> Wire:
    wire, weight = _wire(inputs, 0), _fixed(node, inputs, 1)
    _, strides, dilations, pads = window(node, torch.empty(wire.shape, device="meta"), list(weight.shape[2:]))
    return builder.conv(wire, weight, _optional(node, inputs, 2), strides, pads, dilations, node.integer("group", 1))


def _pool(builder: Builder, node: Node, inputs: Sequence[Value]) -> Wire:
    wire, kernel = _wire(inputs, 0), node.integers("kernel_shape") or []
    like = torch.empty(wire.shape, device="meta")
    _, strides, dilations, pads = window(node, like, kernel)
    spans = [dilation * (k - 1) + 1 for k, dilation in zip(kernel, dilations, strict=True)]
    if rounds_up(node, like, spans, strides, pads):
        raise Unsupported(f"{node.op} with ceil_mode=1")
    if node.op == "MaxPool":
        return builder.max_pool(wire, kernel, strides, pads, dilations)
    if any(dilation != 1 for dilation in dilations):
        raise Unsupported(f"AveragePool with dilations={dilations}")
    return builder.average_pool(wire, kernel, strides, pads, zeros=bool(node.integer("count_include_pad", 0)))


def _batch_norm(builder: Builder, node: Node, inputs: Sequence[Value]) -> Wire:
    wire = _wire(inputs, 0)
    scale, bias, mean, var = (_fixed(node, inputs, at) for at in range(1, 5))
    return builder.batch_norm(wire, scale, bias, mean, var, node.number("epsilon", 1e-5))


def _sum(builder: Builder, node: Node, inputs: Sequence[Value]) -> Wire:
    """Add, Sub and Sum, of computed values and constants."""
    result: Value = inputs[0]
    sign = -1.0 if node.op == "Sub" else 1.0
    for value in inputs[1:]:
        if isinstance(result, Wire) and isinstance(value, Wire):
            result = builder.total([result, value], (1.0, sign))
        elif isinstance(result, Wire) and isinstance(value, Tensor):
            result = builder.scaled(result, None, sign * value)
        elif isinstance(result, Tensor) and isinstance(value, Wire):
            result = builder.scaled(value, None if sign == 1 else sign, result)
        elif isinstance(result, Tensor) and isinstance(value, Tensor):
            result = result + sign * value
    if not isinstance(result, Wire):
        raise Unsupported(f"{node.op} without an input")
    return result


def _product(builder: Builder, node: Node, inputs: Sequence[Value]) -> Wire:
    first, second = inputs[0], inputs[1]
    if isinstance(first, Wire) and isinstance(second, Tensor):
        return builder.scaled(first, second if node.op == "Mul" else 1 / second.double(), None)
    if isinstance(first, Tensor) and isinstance(second, Wire) and node.op == "Mul":
        return builder.scaled(second, first, None)
    raise Unsupported(f"{node.op} {'of' if node.op == 'Mul' else 'by'} computed values")


def _clip(builder: Builder, node: Node, inputs: Sequence[Value]) -> Wire:
    if node.opset < 11:
        return builder.clip(_wire(inputs, 0), node.number("min", -math.inf), node.number("max", math.inf))
    low, high = _optional(node, inputs, 1), _optional(node, inputs, 2)
    bounds = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
    return builder.clip(_wire(inputs, 0), *bounds)


def _largest(builder: Builder, node: Node, inputs: Sequence[Value]) -> Wire:
    sign = 1.0 if node.op == "Max" else -1.0
    wires = [value for value in inputs if isinstance(value, Wire)]
    if len(wires) < len(inputs):
        raise Unsupported(f"{node.op} with a constant")
    turned = wires if sign == 1 else [builder.scaled(wire, sign, None) for wire in wires]
    best = reduce(builder.larger, turned)
    return best if sign == 1 else builder.scaled(best, sign, None)


def _p_relu(builder: Builder, node: Node, inputs: Sequence[Value]) -> Wire:
    return builder.leaky(_wire(inputs, 0), _fixed(node, inputs, 1))


def _absolute(builder: Builder, _node: Node, inputs: Sequence[Value]) -> Wire:
    wire = _wire(inputs, 0)
    return builder.total([builder.relu(wire), builder.relu(builder.scaled(wire, -1.0, None))], (1.0, 1.0))


def _mean(builder: Builder, node: Node, inputs: Sequence[Value]) -> Wire:
    wire = _wire(inputs, 0)
    if node.op == "GlobalAveragePool":
        return builder.mean(wire, range(2, len(wire.shape)), keep=True)
    axes = axes_of(node, [v if isinstance(v, Tensor) else None for v in inputs], 1)
    if not axes:
        raise Unsupported(f"{node.op} over all axes")
    return builder.mean(wire, axes, keep=bool(node.integer("keepdims", 1)), total=node.op == "ReduceSum")


RULES: dict[str, Rule] = {
    "Abs": _absolute,
    "Add": _sum,
    "AveragePool": _pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Conv": _conv,
    "Div": _product,
    "Gemm": _gemm,
    "GlobalAveragePool": _mean,
    "LeakyRelu": lambda builder, node, inputs: builder.leaky(_wire(inputs, 0), node.number("alpha", 0.01)),
    "MatMul": _matmul,
    "Max": _largest,
    "MaxPool": _pool,
    "Min": _largest,
    "Mul": _product,
    "Neg": lambda builder, _node, inputs: builder.scaled(_wire(inputs, 0), -1.0, None),
    "PRelu": _p_relu,
    "ReduceMean": _mean,
    "ReduceSum": _mean,
    "Relu": lambda builder, _node, inputs: builder.relu(_wire(inputs, 0)),
    "Sigmoid": lambda builder, _node, inputs: builder.s_shape(_wire(inputs, 0), "sigmoid"),
    "Sub": _sum,
    "Sum": _sum,
    "Tanh": lambda builder, _node, inputs: builder.s_shape(_wire(inputs, 0), "tanh"),
}
"""What each ONNX operator is in a graph; those in `MOVES` besides."""
