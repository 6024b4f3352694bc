"""An ONNX file as a network to be proved something of: any shapes, one input and one output of floats."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from redoubt.bounds.network.from_onnx import from_onnx
from redoubt.bounds.network.graph import Graph
from redoubt.models.extras import needs
from redoubt.models.locate import first_line
from redoubt.models.onnx_file import read_onnx
from redoubt.models.onnx_node import Unsupported
from redoubt.models.onnx_torch import convert
from redoubt.records import ModelError

_APART = 1e-3  # of the largest output: how far the graph's outputs may be from onnxruntime's, which computes in float32


@dataclass(frozen=True)
class OnnxNetwork:
    """The graph that bounds are computed of, and the file as onnxruntime runs it.

    Attributes:
        graph: see `Graph`.
        shape: of the input, batch of one included where the file has a batch.
    """

    graph: Graph
    shape: tuple[int, ...]
    _session: Any
    _given: str

    def run(self, x: Tensor) -> Tensor:
        """What onnxruntime answers to float32 inputs `[N, n]`, one by one: `[N, m]`.

        Raises:
            ModelError: it fails.
        """
        rows = []
        for one in x.float():
            try:
                (answer,) = self._session.run(None, {self._given: one.reshape(self.shape).numpy()})
            except Exception as error:  # the wall to onnxruntime, whose errors share no base
                raise ModelError(
                    f"onnxruntime fails: {first_line(error)}", remedy="export the network again"
                ) from error
            rows.append(torch.from_numpy(answer).reshape(-1))
        return torch.stack(rows)


def load_network(path: Path) -> OnnxNetwork:
    """Read an ONNX file.

    Raises:
        ModelError: the file is unsafe or unsound; has an operator without bounds, which is named; has several inputs
            or outputs, or a shape that is not fixed; or the graph computes something else than onnxruntime.
    """
    model, _ = read_onnx(path)
    with needs("onnx"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the wall to onnxruntime, whose errors share no base
        raise ModelError(
            f"onnxruntime cannot load {path.name}: {first_line(error)}", remedy="export it again"
        ) from error
    shape, given = _input(session.get_inputs(), path.name)
    outputs = session.get_outputs()
    if len(outputs) != 1:
        raise ModelError(f"{path.name} has {len(outputs)} outputs; expected one", remedy="export one output")
    try:
        graph = from_onnx(convert(model, given, outputs[0].name).eval(), shape)
    except Unsupported as reason:
        raise ModelError(f"{path.name} has {reason}: no bounds are known for it") from None
    network = OnnxNetwork(graph, shape, session, given)
    _compare(network, path.name)
    return network


def _input(inputs: list[Any], name: str) -> tuple[tuple[int, ...], str]:
    if len(inputs) != 1:
        raise ModelError(f"{name} has {len(inputs)} inputs; expected one", remedy="export one input")
    (entry,) = inputs
    if entry.type != "tensor(float)":
        raise ModelError(f"the input '{entry.name}' of {name} is a {entry.type}; expected float32")
    sizes = [1 if at == 0 and not isinstance(size, int) else size for at, size in enumerate(entry.shape)]
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ModelError(f"the shape of input '{entry.name}' of {name} is not fixed: {entry.shape}")
    if len(sizes) > 1 and sizes[0] != 1:
        raise ModelError(f"{name} takes batches of {sizes[0]}", remedy="export it with a batch of one, or a free batch")
    if math.prod(sizes) > 2**24:
        raise ModelError(f"{name} takes {math.prod(sizes)} numbers, more than {2**24}")
    return tuple(sizes), entry.name


def _compare(network: OnnxNetwork, name: str) -> None:
    """The graph against onnxruntime on seeded inputs of three sizes."""
    rng = torch.Generator().manual_seed(0)
    scale = torch.tensor([0.0, 0.1, 0.1, 1.0, 1.0, 1.0, 10.0])[:, None]
    x = torch.rand((len(scale), network.graph.size), generator=rng) * scale
    x[4:] -= scale[4:] / 2
    with torch.no_grad():
        mine, theirs = network.graph.frozen()(x.double()), network.run(x).double()
    if mine.shape != theirs.shape:
        raise ModelError(f"{name}: the graph has {mine.shape[1]} outputs, onnxruntime {theirs.shape[1]}")
    apart = (mine - theirs).abs().amax(dim=1) / theirs.abs().amax(dim=1).clamp_min(1e-3)
    if not bool((apart <= _APART).all()):
        raise ModelError(
            f"{name}: the graph that bounds are computed of differs from onnxruntime by {float(apart.max()):.2g} of "
            f"the largest output (allowed: {_APART:g})",
            remedy="report this, with the file",
        )
