"""Reading an ONNX file that nobody vouches for."""

from pathlib import Path
from typing import Any

from redoubt.models.extras import needs
from redoubt.models.files import sha256
from redoubt.models.locate import first_line
from redoubt.records import ModelError
from redoubt.supply.gate import OPEN, Gate

MAX_BYTES = 2 * 2**30
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")


def read_onnx(path: Path, gate: Gate = OPEN) -> tuple[Any, str]:
    """The model, whole and with its functions inlined, and a digest over all bytes it was read from.

    Tensors in external files are read from the model's own folder only.

    Raises:
        ModelError: the file is refused by the gate, or no sound ONNX, or has more than 2 GiB in all.
    """
    with needs("onnx"):
        import onnx
        import onnx.inliner
    raw = gate.admit(path, "onnx", MAX_BYTES)
    try:
        model = onnx.load_model_from_string(raw)
    except Exception as error:  # the wall to protobuf, whose errors share no base
        raise ModelError(f"{path.name} is not an ONNX file: {first_line(error)}", remedy="export it again") from error
    parts = [raw, *_read_external(onnx, model, path, MAX_BYTES - len(raw), gate)]
    try:
        onnx.checker.check_model(model)
        if model.functions:
            _name_defaults(model)
            model = onnx.inliner.inline_local_functions(model)
    except Exception as error:  # the wall to onnx, which raises several kinds
        raise ModelError(f"{path.name} is not a sound ONNX model: {first_line(error)}", remedy="export it again") from (
            error
        )
    foreign = sorted({f"{node.domain}.{node.op_type}" for node in nodes_of(model.graph) if node.domain not in _DOMAINS})
    if foreign:
        raise ModelError(
            f"{path.name} uses operators outside the ONNX standard: {', '.join(foreign[:5])}",
            remedy="export the model with standard operators only",
        )
    return model, sha256(*parts)


def pack_onnx(path: Path) -> bytes:
    """The model as one file, with the tensors in it that lay beside it.

    Raises:
        ModelError: as `read_onnx`, or it has more than 2 GiB, which is as much as protobuf holds.
    """
    model, _ = read_onnx(path)
    if model.ByteSize() >= MAX_BYTES:
        raise ModelError(f"{path.name} has more than 2 GiB with its tensors", remedy="give a smaller model")
    packed: bytes = model.SerializeToString()
    return packed


def nodes_of(graph: Any) -> list[Any]:
    """All nodes of the graph and of the graphs inside it."""
    found: list[Any] = []
    waiting = [graph]
    while waiting:
        for node in waiting.pop().node:
            found.append(node)
            for attribute in node.attribute:
                waiting.extend([attribute.g] if attribute.HasField("g") else [])
                waiting.extend(attribute.graphs)
    return found


def _name_defaults(model: Any) -> None:
    """Write the defaults of functions' attributes into their calls: onnx's inliner drops what a call does not name."""
    defaults = {(each.domain, each.name, each.overload): each.attribute_proto for each in model.functions}
    nodes = nodes_of(model.graph)
    for function in model.functions:
        nodes.extend(nodes_of(function))
    for node in nodes:
        named = {attribute.name for attribute in node.attribute}
        for default in defaults.get((node.domain, node.op_type, node.overload), ()):
            if default.name not in named:
                node.attribute.add().CopyFrom(default)


def _tensors_of(onnx: Any, model: Any) -> list[Any]:
    graphs = [model.graph]
    nodes = nodes_of(model.graph)
    attributes: list[Any] = []
    for function in model.functions:
        nodes.extend(nodes_of(function))
        attributes.extend(function.attribute_proto)  # defaults, which may hold graphs of their own
        for default in function.attribute_proto:
            inner = [default.g, *default.graphs] if default.HasField("g") else list(default.graphs)
            for graph in inner:
                nodes.extend(nodes_of(graph))
    for node in nodes:
        attributes.extend(node.attribute)
    tensors: list[Any] = []
    for attribute in attributes:
        tensors.extend([attribute.t] if attribute.HasField("t") else [])
        tensors.extend(attribute.tensors)
        graphs.extend([attribute.g] if attribute.HasField("g") else [])
        graphs.extend(attribute.graphs)
    for graph in graphs:
        tensors.extend(graph.initializer)
    return [tensor for tensor in tensors if tensor.data_location == onnx.TensorProto.EXTERNAL]


def _read_external(onnx: Any, model: Any, path: Path, room: int, gate: Gate) -> list[bytes]:
    """Move external tensors into the model; the bytes that were read."""
    folder = path.resolve().parent
    cache: dict[Path, bytes] = {}
    for tensor in _tensors_of(onnx, model):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        file = (folder / location).resolve()
        if not location or not file.is_relative_to(folder):
            raise ModelError(
                f"{path.name} wants to read tensor '{tensor.name}' from '{location}', outside its own folder",
                remedy="put the tensor data beside the model, or save the model as one file",
            )
        if file not in cache:
            cache[file] = gate.part(file, room)
            room -= len(cache[file])
        try:
            start = int(entries.get("offset", 0))
            length = int(entries.get("length", len(cache[file]) - start))
        except ValueError as error:
            raise ModelError(f"{path.name}: tensor '{tensor.name}' has no sound place in {location}") from error
        if start < 0 or length < 0 or start + length > len(cache[file]):
            raise ModelError(
                f"{path.name}: tensor '{tensor.name}' lies beyond the end of {location}", remedy="export it again"
            )
        tensor.raw_data = cache[file][start : start + length]
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.DEFAULT
    return [cache[file] for file in sorted(cache)]
