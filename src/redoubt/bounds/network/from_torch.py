"""From a torch module to a `Graph`, by `torch.fx`."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from redoubt.bounds.network.build import Builder, Wire
from redoubt.bounds.network.from_onnx import add_onnx
from redoubt.bounds.network.graph import Graph
from redoubt.models.onnx_node import Unsupported
from redoubt.models.onnx_torch import GraphModule

_Pair: TypeAlias = int | Sequence[int]


def from_torch(module: nn.Module, shape: Sequence[int]) -> Graph:
    """The graph of a module as it computes in evaluation mode.

    Parameters are kept as they are, so what is computed from the graph can be differentiated in them.

    Args:
        module: made of what is listed in `MODULES` and `FUNCTIONS`, and of moves (reshape, flatten, transpose, slice);
            control flow must not depend on values.
        shape: of one input, without the batch.

    Raises:
        Unsupported: naming the module or function for which there is no rule.
    """
    builder = Builder((1, *shape))
    return builder.graph(add_torch(builder, module, builder.input))


def add_torch(builder: Builder, module: nn.Module, given: Wire) -> Wire:
    """Add a module to what is being built."""
    if isinstance(module, GraphModule):
        return add_onnx(builder, module, given)
    try:
        traced = torch.fx.symbolic_trace(module)
    except Exception as error:  # the wall to the module's own code, which may raise anything
        told = " ".join(str(error).split())[:200]
        raise Unsupported(f"a {type(module).__name__} that torch.fx cannot trace ({told})") from error
    output = _Walk(traced, builder).run(given)
    if not isinstance(output, Wire):
        raise Unsupported(f"a module that returns a {type(output).__name__} instead of one tensor")
    return output


class _Walk(torch.fx.Interpreter):
    """Plays a traced module on wires."""

    def __init__(self, traced: torch.fx.GraphModule, builder: Builder) -> None:
        super().__init__(traced)
        self._builder = builder

    def run_node(self, n: torch.fx.Node) -> Any:
        try:
            return super().run_node(n)
        except Unsupported as reason:
            raise Unsupported(f"{reason} (at '{n.name}')") from None
        except (RuntimeError, IndexError, ValueError, TypeError, AttributeError, KeyError) as error:
            told = " ".join(str(error).split())[:200]
            raise Unsupported(f"what cannot be followed on these shapes at '{n.name}': {told}") from error

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        part = self.fetch_attr(target)
        if isinstance(part, GraphModule):
            return add_onnx(self._builder, part, args[0])
        rule = MODULES.get(type(part))
        if rule is None:
            raise Unsupported(f"module {type(part).__name__}")
        if kwargs or len(args) != 1:
            raise Unsupported(f"module {type(part).__name__} called with other arguments than its input")
        return rule(self._builder, args[0], part)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._called(target, getattr(target, "__name__", str(target)), args, kwargs)

    def call_method(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._called(getattr(torch.Tensor, target, None), target, args, kwargs)

    def _called(self, function: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        wires = [*_wires(args), *_wires(tuple(kwargs.values()))]
        if not wires:
            return function(*args, **kwargs)
        name = name.removeprefix("_").rstrip("_")
        if name in ("size", "shape", "dim", "ndimension") or (name == "getattr" and args[1] in ("shape", "ndim")):
            like = torch.empty(wires[0].shape, device="meta")
            return function(like, *args[1:], **kwargs)
        if name in MOVES:
            return self._moved(function, args, kwargs, wires)
        rule = FUNCTIONS.get(name)
        if rule is None:
            raise Unsupported(f"function {name}")
        return rule(self._builder, *args, **kwargs)

    def _moved(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], wires: list[Wire]) -> Any:
        whole = [torch.empty(wire.shape, device="meta") for wire in wires]
        like = function(*_filled(args, iter(whole)), **kwargs)

        def moved(number: int, *numbers: Tensor) -> Tensor:
            result = function(*_filled(args, iter(numbers)), **kwargs)
            return result if isinstance(result, Tensor) else result[number]

        if isinstance(like, Tensor):
            return self._builder.rearranged(lambda *x: moved(0, *x), *wires)
        return tuple(self._builder.rearranged(lambda *x, at=at: moved(at, *x), *wires) for at in range(len(like)))


def _wires(args: tuple[Any, ...]) -> list[Wire]:
    found: list[Wire] = []
    for arg in args:
        if isinstance(arg, Wire):
            found.append(arg)
        elif isinstance(arg, tuple | list):
            found.extend(_wires(tuple(arg)))
    return found


def _filled(args: tuple[Any, ...], numbers: Any) -> tuple[Any, ...]:
    """The arguments with tensors in the wires' places, in order."""
    filled: list[Any] = []
    for arg in args:
        if isinstance(arg, Wire):
            filled.append(next(numbers))
        elif isinstance(arg, list | tuple):
            filled.append(type(arg)(_filled(tuple(arg), numbers)))
        else:
            filled.append(arg)
    return tuple(filled)


MOVES = frozenset(
    {
        *("cat", "concat", "chunk", "contiguous", "expand", "flatten", "flip", "getitem", "movedim", "narrow"),
        *("permute", "reshape", "roll", "select", "split", "squeeze", "stack", "swapaxes", "t", "transpose"),
        *("unbind", "unflatten", "unsqueeze", "view", "repeat", "clone", "detach", "pixel_shuffle", "pixel_unshuffle"),
    }
)
"""Functions and methods that only move numbers."""


def _each(value: _Pair, count: int) -> list[int]:
    return [value] * count if isinstance(value, int) else [int(item) for item in value]


def _conv(builder: Builder, wire: Wire, part: Any) -> Wire:
    if part.padding_mode != "zeros":
        raise Unsupported(f"a convolution with padding_mode={part.padding_mode!r}")
    return _convolved(builder, wire, part.weight, part.bias, part.stride, part.padding, part.dilation, part.groups)


def _convolved(
    builder: Builder,
    wire: Wire,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: _Pair = 1,
    padding: _Pair | str = 0,
    dilation: _Pair = 1,
    groups: int = 1,
) -> Wire:
    spatial = weight.ndim - 2
    dilations = _each(dilation, spatial)
    if padding == "valid":
        padding = 0
    if isinstance(padding, str):  # same
        totals = [d * (k - 1) for d, k in zip(dilations, weight.shape[2:], strict=True)]
        pads = [(total // 2, total - total // 2) for total in totals]
    else:
        pads = [(pad, pad) for pad in _each(padding, spatial)]
    return builder.conv(wire, weight, bias, _each(stride, spatial), pads, dilations, groups)


def _max_pool(
    builder: Builder,
    wire: Wire,
    kernel_size: _Pair,
    stride: _Pair | None = None,
    padding: _Pair = 0,
    dilation: _Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Wire:
    spatial = len(wire.shape) - 2
    if ceil_mode or return_indices:
        raise Unsupported("max pooling with ceil_mode or return_indices")
    kernel = _each(kernel_size, spatial)
    pads = [(pad, pad) for pad in _each(padding, spatial)]
    strides = _each(kernel if stride is None else stride, spatial)
    return builder.max_pool(wire, kernel, strides, pads, _each(dilation, spatial))


def _average_pool(
    builder: Builder,
    wire: Wire,
    kernel_size: _Pair,
    stride: _Pair | None = None,
    padding: _Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Wire:
    spatial = len(wire.shape) - 2
    if ceil_mode or divisor_override is not None:
        raise Unsupported("average pooling with ceil_mode or divisor_override")
    kernel = _each(kernel_size, spatial)
    pads = [(pad, pad) for pad in _each(padding, spatial)]
    strides = _each(kernel if stride is None else stride, spatial)
    return builder.average_pool(wire, kernel, strides, pads, zeros=count_include_pad)


def _adaptive(builder: Builder, wire: Wire, output_size: Any) -> Wire:
    spatial = len(wire.shape) - 2
    wanted = _each(output_size, spatial)
    if any(size is None or have % size for have, size in zip(wire.shape[2:], wanted, strict=True)):
        raise Unsupported(f"adaptive pooling of {list(wire.shape[2:])} to {wanted}, which does not divide it")
    kernel = [have // size for have, size in zip(wire.shape[2:], wanted, strict=True)]
    return builder.average_pool(wire, kernel, kernel, [(0, 0)] * spatial, zeros=True)


def _batch_norm(builder: Builder, wire: Wire, part: Any) -> Wire:
    if part.running_mean is None or part.running_var is None:
        raise Unsupported("batch normalisation without running statistics")
    return builder.batch_norm(wire, part.weight, part.bias, part.running_mean, part.running_var, part.eps)


def _mean(builder: Builder, wire: Wire, dim: Any = None, keepdim: bool = False, total: bool = False) -> Wire:
    if dim is None:
        raise Unsupported("a mean over all axes")
    return builder.mean(wire, [dim] if isinstance(dim, int) else list(dim), keep=keepdim, total=total)


def _sum(sign: float) -> Callable[..., Wire]:
    def rule(builder: Builder, a: Any, b: Any, alpha: float = 1) -> Wire:
        if alpha != 1:
            raise Unsupported(f"a sum with alpha={alpha}")
        if isinstance(a, Wire) and isinstance(b, Wire):
            return builder.total([a, b], (1.0, sign))
        return builder.scaled(a, None, sign * b) if isinstance(a, Wire) else builder.scaled(b, sign, a)

    return rule


def _times(builder: Builder, a: Any, b: Any) -> Wire:
    if isinstance(a, Wire) and isinstance(b, Wire):
        raise Unsupported("a product of computed values")
    return builder.scaled(a, b, None) if isinstance(a, Wire) else builder.scaled(b, a, None)


def _divided(builder: Builder, a: Any, b: Any) -> Wire:
    if not isinstance(a, Wire) or isinstance(b, Wire):
        raise Unsupported("a division by computed values")
    return builder.scaled(a, 1 / (b.double() if isinstance(b, Tensor) else b), None)


def _clipped(builder: Builder, wire: Wire, min: float | None = None, max: float | None = None) -> Wire:  # noqa: A002
    low, high = (-torch.inf if min is None else min), (torch.inf if max is None else max)
    return builder.clip(wire, float(low), float(high))


def _larger(builder: Builder, a: Wire, b: Wire) -> Wire:
    return builder.larger(a, b)


def _relu(builder: Builder, wire: Wire, *_part: Any, **_options: Any) -> Wire:
    return builder.relu(wire)


def _same(_builder: Builder, wire: Wire, *_part: Any, **_options: Any) -> Wire:
    return wire


def _dropout(_builder: Builder, wire: Wire, p: float = 0.5, training: bool = True, inplace: bool = False) -> Wire:  # noqa: ARG001
    if training and p > 0:
        raise Unsupported("dropout that is never switched off")
    return wire


def _leaky(builder: Builder, wire: Wire, negative_slope: float = 0.01, **_options: Any) -> Wire:
    return builder.leaky(wire, negative_slope)


MODULES: dict[type[nn.Module], Callable[[Builder, Wire, Any], Wire]] = {
    nn.AdaptiveAvgPool1d: lambda builder, wire, part: _adaptive(builder, wire, part.output_size),
    nn.AdaptiveAvgPool2d: lambda builder, wire, part: _adaptive(builder, wire, part.output_size),
    nn.AvgPool1d: lambda builder, wire, part: _average_pool(
        builder, wire, part.kernel_size, part.stride, part.padding, part.ceil_mode, part.count_include_pad
    ),
    nn.AvgPool2d: lambda builder, wire, part: _average_pool(
        builder,
        wire,
        part.kernel_size,
        part.stride,
        part.padding,
        part.ceil_mode,
        part.count_include_pad,
        part.divisor_override,
    ),
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.Dropout: _same,
    nn.Dropout2d: _same,
    nn.Flatten: lambda builder, wire, part: builder.rearranged(part, wire),
    nn.Hardtanh: lambda builder, wire, part: builder.clip(wire, part.min_val, part.max_val),
    nn.Identity: _same,
    nn.LeakyReLU: lambda builder, wire, part: builder.leaky(wire, part.negative_slope),
    nn.Linear: lambda builder, wire, part: builder.dense(wire, part.weight, part.bias),
    nn.MaxPool1d: lambda builder, wire, part: _max_pool(
        builder, wire, part.kernel_size, part.stride, part.padding, part.dilation, part.ceil_mode, part.return_indices
    ),
    nn.MaxPool2d: lambda builder, wire, part: _max_pool(
        builder, wire, part.kernel_size, part.stride, part.padding, part.dilation, part.ceil_mode, part.return_indices
    ),
    nn.ReLU: _relu,
    nn.ReLU6: lambda builder, wire, _part: builder.clip(wire, 0.0, 6.0),
    nn.Sigmoid: lambda builder, wire, _part: builder.s_shape(wire, "sigmoid"),
    nn.Tanh: lambda builder, wire, _part: builder.s_shape(wire, "tanh"),
    nn.Unflatten: lambda builder, wire, part: builder.rearranged(part, wire),
    nn.ZeroPad2d: lambda builder, wire, part: builder.rearranged(lambda x: F.pad(x, part.padding), wire),
}
"""What each module is in a graph."""

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "adaptive_avg_pool2d": _adaptive,
    "add": _sum(1.0),
    "avg_pool1d": _average_pool,
    "avg_pool2d": _average_pool,
    "clamp": _clipped,
    "conv1d": _convolved,
    "conv2d": _convolved,
    "div": _divided,
    "dropout": _dropout,
    "iadd": _sum(1.0),
    "isub": _sum(-1.0),
    "leaky_relu": _leaky,
    "linear": lambda builder, wire, weight, bias=None: builder.dense(wire, weight, bias),
    "max_pool1d": _max_pool,
    "max_pool2d": _max_pool,
    "maximum": _larger,
    "mean": _mean,
    "mul": _times,
    "neg": lambda builder, wire: builder.scaled(wire, -1.0, None),
    "relu": _relu,
    "sigmoid": lambda builder, wire: builder.s_shape(wire, "sigmoid"),
    "sub": _sum(-1.0),
    "sum": lambda builder, wire, dim=None, keepdim=False: _mean(builder, wire, dim, keepdim, total=True),
    "tanh": lambda builder, wire: builder.s_shape(wire, "tanh"),
    "truediv": _divided,
}
"""What each function and method is in a graph, by its name."""
