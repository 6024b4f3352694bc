"""The graph of a model as it is assessed: normalisation, layers, and the logits that its face shows."""

import torch

from redoubt.bounds.network.build import Builder
from redoubt.bounds.network.from_torch import add_torch
from redoubt.bounds.network.graph import Graph
from redoubt.models.base import Differentiable, Model
from redoubt.models.onnx_node import Unsupported


def from_model(model: Model) -> Graph:
    """From inputs in the face's range to K numbers in the order of the model's scores: logits, or probabilities.

    Raises:
        Unsupported: the model cannot be looked into, or holds something that has no bounds here; named.
    """
    inner = model.inner if isinstance(model, Differentiable) else None
    if inner is None:
        raise Unsupported(f"a {type(model).__name__}, whose layers cannot be looked into")
    module, adapter = inner
    builder = Builder((1, *model.face.shape))
    wire = builder.input
    if adapter.shift is not None:
        wire = builder.scaled(wire, None, -adapter.shift.double())
    if adapter.scale is not None:
        wire = builder.scaled(wire, 1 / adapter.scale.double(), None)
    wire = add_torch(builder, module, wire)
    if wire.size == 1 and model.face.classes == 2:
        pair = torch.tensor([[-0.5], [0.5]] if adapter.outputs == "logits" else [[-1.0], [1.0]], dtype=torch.float64)
        shift = None if adapter.outputs == "logits" else torch.tensor([1.0, 0.0], dtype=torch.float64)
        wire = builder.dense(builder.rearranged(lambda x: x.reshape(1, 1), wire), pair, shift)
    if wire.size != model.face.classes:
        raise Unsupported(f"an output of {wire.size} numbers for {model.face.classes} classes")
    return builder.graph(wire)
