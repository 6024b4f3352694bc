"""ONNX operators on tensors as such: arithmetic, reductions, shapes, indexing."""

import math
from collections.abc import Callable
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from redoubt.models.onnx_node import Inputs, Node, Operator, Unsupported, axes_of, list_of, maybe, need, operator

_TYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}


def _unary(function: Callable[[Tensor], Tensor]) -> Operator:
    return operator(lambda _node, inputs: function(need(inputs, 0)))


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return operator(lambda _node, inputs: function(*_together(need(inputs, 0), need(inputs, 1))))


def _variadic(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    def run(_node: Node, inputs: Inputs) -> Tensor:
        return reduce(lambda a, b: function(*_together(a, b)), [need(inputs, i) for i in range(len(inputs))])

    return operator(run)


def _together(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both on one device: shapes are computed on the CPU, wherever the data lie."""
    return (a.to(b.device), b) if a.device.type == "cpu" else (a, b.to(a.device))


def _mean(node: Node, inputs: Inputs) -> Tensor:
    total = _variadic(torch.add).run(node, inputs)
    if not isinstance(total, Tensor):
        raise Unsupported("Mean of several outputs")
    return total / len(inputs)


def _div(a: Tensor, b: Tensor) -> Tensor:
    whole = not (a.is_floating_point() or b.is_floating_point())
    return torch.div(a, b, rounding_mode="trunc") if whole else a / b


def _clip(node: Node, inputs: Inputs) -> Tensor:
    x, low, high = need(inputs, 0), maybe(inputs, 1), maybe(inputs, 2)
    if node.opset < 11:
        return x.clamp(node.number("min", -math.inf), node.number("max", math.inf))
    return x if low is None and high is None else x.clamp(low, high)


def _cast(node: Node, inputs: Inputs) -> Tensor:
    x, kind = need(inputs, 0), _TYPES.get(node.integer("to", 0))
    if kind is None:
        raise Unsupported(f"Cast to type {node.integer('to', 0)}")
    if x.is_floating_point() and not kind.is_floating_point:
        raise Unsupported(f"Cast from {x.dtype} to {kind}")
    return x.to(kind)


def _where(_node: Node, inputs: Inputs) -> Tensor:
    yes, no = _together(need(inputs, 1), need(inputs, 2))
    return torch.where(need(inputs, 0).to(yes.device), yes, no)


def _axes(node: Node, inputs: Inputs, rank: int) -> list[int] | None:
    axes = axes_of(node, inputs, 1)
    if axes:
        return [axis % rank for axis in axes]
    return None if node.integer("noop_with_empty_axes", 0) else list(range(rank))


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    def run(node: Node, inputs: Inputs) -> Tensor:
        x = need(inputs, 0)
        axes = _axes(node, inputs, x.ndim)
        return x if axes is None else function(x, axes, bool(node.integer("keepdims", 1)))

    return operator(run, "axes", "keepdims", "noop_with_empty_axes")


def _l2(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, dim=axes, keepdim=keep)
    return norm


def _flatten(node: Node, inputs: Inputs) -> Tensor:
    x, axis = need(inputs, 0), node.integer("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _reshape(node: Node, inputs: Inputs) -> Tensor:
    x, shape = need(inputs, 0), list_of(need(inputs, 1))
    if not node.integer("allowzero", 0):
        shape = [x.shape[i] if size == 0 else size for i, size in enumerate(shape)]
    return x.reshape(shape)


def _transpose(node: Node, inputs: Inputs) -> Tensor:
    x = need(inputs, 0)
    return x.permute(node.integers("perm") or list(reversed(range(x.ndim))))


def _squeeze(node: Node, inputs: Inputs) -> Tensor:
    x, axes = need(inputs, 0), axes_of(node, inputs, 1)
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def _unsqueeze(node: Node, inputs: Inputs) -> Tensor:
    x, axes = need(inputs, 0), axes_of(node, inputs, 1) or []
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _concat(node: Node, inputs: Inputs) -> Tensor:
    parts = [need(inputs, i) for i in range(len(inputs))]
    device = next((part.device for part in parts if part.device.type != "cpu"), parts[0].device)
    return torch.cat([part.to(device) for part in parts], dim=node.integer("axis", 0))


def _split(node: Node, inputs: Inputs) -> list[Tensor]:
    x, axis, given = need(inputs, 0), node.integer("axis", 0), maybe(inputs, 1)
    sizes = list_of(given) if given is not None else node.integers("split")
    if sizes is None:
        each = math.ceil(x.shape[axis] / node.outputs)
        sizes = [each] * (node.outputs - 1) + [x.shape[axis] - each * (node.outputs - 1)]
    return list(torch.split_with_sizes(x, sizes, dim=axis))


def _shape(node: Node, inputs: Inputs) -> Tensor:
    shape = list(need(inputs, 0).shape)
    return torch.tensor(shape[node.integer("start", 0) : node.integer("end", len(shape))], dtype=torch.int64)


def _gather(node: Node, inputs: Inputs) -> Tensor:
    x, index = need(inputs, 0), need(inputs, 1)
    axis = node.integer("axis", 0) % x.ndim
    index = index.to(x.device, torch.int64)
    flat = torch.where(index < 0, index + x.shape[axis], index).reshape(-1)
    return x.index_select(axis, flat).reshape([*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]])


def _slice(node: Node, inputs: Inputs) -> Tensor:
    x = need(inputs, 0)
    if node.opset < 10:
        starts, ends, axes, steps = (
            node.integers("starts") or [],
            node.integers("ends") or [],
            node.integers("axes"),
            None,
        )
    else:
        starts, ends = list_of(need(inputs, 1)), list_of(need(inputs, 2))
        axes, steps = (None if v is None else list_of(v) for v in (maybe(inputs, 3), maybe(inputs, 4)))
    for start, end, axis, step in zip(
        starts, ends, axes or range(len(starts)), steps or [1] * len(starts), strict=True
    ):
        rows = range(*slice(start, end, step).indices(x.shape[axis]))
        x = x.index_select(axis, torch.tensor(list(rows), dtype=torch.int64, device=x.device))
    return x


def _pad(node: Node, inputs: Inputs) -> Tensor:
    x, mode = need(inputs, 0), node.text("mode", "constant")
    if node.opset < 11:
        pads, value, axes = node.integers("pads") or [], node.number("value", 0.0), None
    else:
        fill, picked = maybe(inputs, 2), maybe(inputs, 3)
        pads, value = list_of(need(inputs, 1)), 0.0 if fill is None else float(fill)
        axes = None if picked is None else [axis % x.ndim for axis in list_of(picked)]
    axes = list(range(x.ndim)) if axes is None else axes
    sides = [(0, 0)] * x.ndim
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        sides[axis] = (before, after)
    if mode == "constant":
        return F.pad(x, [side for pair in reversed(sides) for side in pair], value=value)
    torch_mode = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}.get(mode)
    if torch_mode is None or not 3 <= x.ndim <= 5 or sides[:2] != [(0, 0)] * 2:
        raise Unsupported(f"Pad with mode={mode} over {x.ndim} axes")
    return F.pad(x, [side for pair in reversed(sides[2:]) for side in pair], mode=torch_mode)


def _expand(_node: Node, inputs: Inputs) -> Tensor:
    x, wanted = need(inputs, 0), list_of(need(inputs, 1))
    mine = [1] * (len(wanted) - x.ndim) + list(x.shape)
    wanted = [1] * (len(mine) - len(wanted)) + wanted
    return x.expand([theirs if own == 1 else own for own, theirs in zip(mine, wanted, strict=True)])


def _constant(node: Node, _inputs: Inputs) -> Tensor:
    for name, kind in (
        ("value", None),
        ("value_float", torch.float32),
        ("value_floats", torch.float32),
        ("value_int", torch.int64),
        ("value_ints", torch.int64),
    ):
        value = node.attributes.get(name)
        if value is not None:
            return value if isinstance(value, Tensor) else torch.tensor(value, dtype=kind)
    raise Unsupported(f"Constant with {', '.join(node.attributes)}")


def _constant_of_shape(node: Node, inputs: Inputs) -> Tensor:
    value = node.attributes.get("value", torch.zeros(1))
    if not isinstance(value, Tensor):
        raise Unsupported("ConstantOfShape with an odd value")
    return value.reshape(()).expand(list_of(need(inputs, 0)))


TENSORS: dict[str, Operator] = {
    "Abs": _unary(torch.abs),
    "Add": _binary(torch.add),
    "And": _binary(torch.logical_and),
    "Cast": operator(_cast, "to", "saturate"),
    "Clip": operator(_clip, "min", "max"),
    "Concat": operator(_concat, "axis"),
    "Constant": operator(_constant, "value", "value_float", "value_floats", "value_int", "value_ints"),
    "ConstantOfShape": operator(_constant_of_shape, "value"),
    "Cos": _unary(torch.cos),
    "Div": _binary(_div),
    "Equal": _binary(torch.eq),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Expand": operator(_expand),
    "Flatten": operator(_flatten, "axis"),
    "Gather": operator(_gather, "axis"),
    "Greater": _binary(torch.gt),
    "GreaterOrEqual": _binary(torch.ge),
    "Identity": operator(lambda _node, inputs: need(inputs, 0)),
    "Less": _binary(torch.lt),
    "LessOrEqual": _binary(torch.le),
    "Log": _unary(torch.log),
    "Max": _variadic(torch.maximum),
    "Mean": operator(_mean),
    "Min": _variadic(torch.minimum),
    "Mul": _binary(torch.mul),
    "Neg": _unary(torch.neg),
    "Not": _unary(torch.logical_not),
    "Or": _binary(torch.logical_or),
    "Pad": operator(_pad, "mode", "pads", "value"),
    "Pow": _binary(torch.pow),
    "Reciprocal": _unary(torch.reciprocal),
    "ReduceL2": _reduction(_l2),
    "ReduceMax": _reduction(lambda x, axes, keep: x.amax(dim=axes, keepdim=keep)),
    "ReduceMean": _reduction(lambda x, axes, keep: x.mean(dim=axes, keepdim=keep)),
    "ReduceMin": _reduction(lambda x, axes, keep: x.amin(dim=axes, keepdim=keep)),
    "ReduceSum": _reduction(lambda x, axes, keep: x.sum(dim=axes, keepdim=keep)),
    "Reshape": operator(_reshape, "allowzero"),
    "Shape": operator(_shape, "start", "end"),
    "Sin": _unary(torch.sin),
    "Slice": operator(_slice, "starts", "ends", "axes"),
    "Split": operator(_split, "axis", "split", "num_outputs"),
    "Sqrt": _unary(torch.sqrt),
    "Squeeze": operator(_squeeze, "axes"),
    "Sub": _binary(torch.sub),
    "Sum": _variadic(torch.add),
    "Transpose": operator(_transpose, "perm"),
    "Unsqueeze": operator(_unsqueeze, "axes"),
    "Where": operator(_where),
}
