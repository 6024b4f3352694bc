"""From an ONNX graph to a torch module that computes the same, with gradients.

Covers inference graphs of one float input and one float output made of the operators in `OPERATORS`.  Control flow
(If, Loop, Scan), recurrent layers, quantised operators and everything whose gradient is zero or undefined by nature
(ArgMax, Round, Sign, casts to integers) are left out: such a graph is refused by name, never approximated.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from redoubt.models.extras import needs
from redoubt.models.onnx_layers import LAYERS
from redoubt.models.onnx_node import Node, Operator, Unsupported, Value
from redoubt.models.onnx_tensors import TENSORS

OPERATORS: dict[str, Operator] = LAYERS | TENSORS
_OLDEST = 7  # before it, broadcasting had attributes of its own


@dataclass(frozen=True)
class GraphStep:
    """A node, what it does in torch, and the names of the values it works on and makes."""

    node: Node
    operator: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    last: tuple[str, ...]  # values that nobody needs after this step


class GraphModule(nn.Module):
    """Plays the steps of a graph, one after the other.

    Integer constants (shapes, axes, indices) stay on the CPU, where they are read; floats move with the module.
    """

    def __init__(self, steps: tuple[GraphStep, ...], constants: dict[str, Tensor], given: str, wanted: str) -> None:
        super().__init__()
        self._steps, self._given, self._wanted = steps, given, wanted
        used = {name for step in steps for name in step.inputs} | {wanted}
        self._integers = {k: v for k, v in constants.items() if k in used and not v.is_floating_point()}
        self._floats = {}
        for number, (name, value) in enumerate((k, v) for k, v in constants.items() if v.is_floating_point()):
            if name in used:
                self._floats[name] = f"constant_{number}"
                self.register_buffer(f"constant_{number}", value)

    def forward(self, x: Tensor) -> Tensor:
        """The graph's output for a batch of inputs."""
        values: dict[str, Tensor] = dict(self._integers)
        values |= {name: self.get_buffer(buffer) for name, buffer in self._floats.items()}
        values[self._given] = x
        for step in self._steps:
            result = step.operator.run(step.node, [values[name] if name else None for name in step.inputs])
            for name, value in zip(step.outputs, result if isinstance(result, list) else [result], strict=False):
                values[name] = value
            for name in step.last:
                values.pop(name, None)
        return values[self._wanted]

    @property
    def steps(self) -> tuple[GraphStep, ...]:
        """The steps, in order."""
        return self._steps

    @property
    def given(self) -> str:
        """Name of the input."""
        return self._given

    @property
    def wanted(self) -> str:
        """Name of the output."""
        return self._wanted

    @property
    def constants(self) -> dict[str, Tensor]:
        """The constants that the steps use, by name."""
        return self._integers | {name: self.get_buffer(buffer) for name, buffer in self._floats.items()}

    def peeled(self) -> "GraphModule | None":
        """If the graph ends in a softmax over classes or a sigmoid: the module without it.

        Logits taken before the softmax keep the gradient that its rounding to 0 and 1 would destroy.
        """
        end = self._steps[-1] if self._steps else None
        if end is None or end.outputs[0] != self._wanted or end.node.op not in ("Softmax", "Sigmoid"):
            return None
        if end.node.op == "Softmax" and end.node.integer("axis", -1 if end.node.opset >= 13 else 1) not in (-1, 1):
            return None
        return GraphModule(_with_lasts(self._steps[:-1], end.inputs[0]), self.constants, self._given, end.inputs[0])


def convert(model: Any, given: str, wanted: str) -> GraphModule:
    """The torch module of an ONNX model's graph from input `given` to output `wanted`.

    Raises:
        Unsupported: naming the operators, or the attribute, that have no twin.
    """
    with needs("onnx"):
        import onnx
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < _OLDEST:
        raise Unsupported(f"operator set {opset}, older than {_OLDEST}")
    nodes = _needed(model.graph.node, wanted)
    unknown = sorted({n.op_type for n in nodes if n.op_type not in OPERATORS or n.domain not in ("", "ai.onnx")})
    if unknown:
        raise Unsupported(f"operator{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}")
    if model.graph.sparse_initializer:
        raise Unsupported("sparse initializers")
    constants = {tensor.name: _tensor(onnx, tensor) for tensor in model.graph.initializer}
    constants.pop(given, None)
    steps: list[GraphStep] = []
    consumed = {name for node in nodes for name in node.input} | {wanted}
    for proto in nodes:
        step = _step(onnx, proto, opset, consumed)
        if all(name in constants or not name for name in step.inputs) and step.node.op != "Dropout":
            with torch.no_grad():
                result = step.operator.run(step.node, [constants[name] if name else None for name in step.inputs])
            constants |= zip(step.outputs, result if isinstance(result, list) else [result], strict=False)
        else:
            steps.append(step)
    return GraphModule(_with_lasts(tuple(steps), wanted), constants, given, wanted)


def _needed(nodes: Any, wanted: str) -> list[Any]:
    """The nodes that the wanted output depends on, in order."""
    names, kept = {wanted}, []
    for node in reversed(nodes):
        if names & set(node.output):
            names |= set(node.input)
            kept.append(node)
    return kept[::-1]


def _step(onnx: Any, proto: Any, opset: int, consumed: set[str]) -> GraphStep:
    entry = OPERATORS[proto.op_type]
    strange = sorted({attribute.name for attribute in proto.attribute} - entry.attributes)
    if strange:
        raise Unsupported(f"{proto.op_type} with {', '.join(strange)}")
    extra = [name for name in proto.output[1:] if name and name in consumed]
    if extra and proto.op_type != "Split":
        raise Unsupported(f"the second output of {proto.op_type}")
    attributes = {attribute.name: _value(onnx, attribute) for attribute in proto.attribute}
    node = Node(proto.op_type, attributes, opset, len(proto.output))
    return GraphStep(node, entry, tuple(proto.input), tuple(proto.output), ())


def _with_lasts(steps: tuple[GraphStep, ...], wanted: str) -> tuple[GraphStep, ...]:
    """The steps, each knowing which values it is the last to use."""
    later, ordered = {wanted}, []
    for step in reversed(steps):
        last = tuple({name for name in (*step.inputs, *step.outputs) if name} - later)
        later |= set(step.inputs)
        ordered.append(GraphStep(step.node, step.operator, step.inputs, step.outputs, last))
    return tuple(reversed(ordered))


def _value(onnx: Any, attribute: Any) -> Value:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return _tensor(onnx, value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, int | float) else list(value)


def _tensor(onnx: Any, proto: Any) -> Tensor:
    try:
        return torch.from_numpy(onnx.numpy_helper.to_array(proto).copy())
    except (TypeError, ValueError) as error:
        raise Unsupported(f"a constant of type {onnx.TensorProto.DataType.Name(proto.data_type)}") from error
