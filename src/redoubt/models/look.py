"""What a model file says of itself, as far as that can be told without building the model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redoubt.models.files import foreign_kind, read_head
from redoubt.models.onnx_file import read_onnx
from redoubt.models.sklearn_file import read_skops
from redoubt.models.weights import read_weights
from redoubt.records import ModelError


@dataclass(frozen=True)
class Sketch:
    """What a first policy for a model file can say.

    Attributes:
        source: as in `model.source`; for weights alone a placeholder, `torch:module:factory`.
        weights: the weights file, if that is what was looked at.
        shape: of one input, without the batch; None if the file does not tell.
        classes: None if the file does not tell.
        notes: plain sentences on what was guessed or could not be told.
    """

    source: str
    weights: str | None
    shape: tuple[int, ...] | None
    classes: int | None
    notes: tuple[str, ...]


def look(path: Path) -> Sketch:
    """Look at an `.onnx`, `.safetensors` or `.skops` file.

    Raises:
        ModelError: another kind of file (a pickle, say), or not a sound one.
    """
    readers = {".onnx": _onnx, ".safetensors": _safetensors, ".skops": _skops}
    reader = readers.get(path.suffix.lower())
    if reader is not None:
        return reader(path)
    kind = foreign_kind(read_head(path))
    if kind is None:
        kind = f"a '{path.suffix}' file" if path.suffix else "a file without a suffix"
    raise ModelError(
        f"cannot look into {path.name}: it is {kind}; nothing in it was executed",
        remedy="give an .onnx, .safetensors or .skops file; a torch pickle becomes one by "
        "safetensors.torch.save_file(model.state_dict(), 'model.safetensors') where you trust it, "
        "a scikit-learn pickle by skops.io.dump(model, 'model.skops')",
    )


def _onnx(path: Path) -> Sketch:
    model, _ = read_onnx(path)
    own = {tensor.name for tensor in model.graph.initializer}
    inputs = [entry for entry in model.graph.input if entry.name not in own]
    notes = []
    shape = classes = None
    if len(inputs) == 1:
        sizes = _sizes(inputs[0])[1:]
        shape = tuple(size for size in sizes if size is not None)
        if len(shape) != len(sizes) or not shape:
            notes.append(f"the graph leaves its input shape open: {['?' if s is None else s for s in sizes]}")
            shape = None
    else:
        notes.append(f"the graph takes {len(inputs)} inputs; Redoubt attacks models of one")
    last = [sizes[-1] for sizes in map(_sizes, model.graph.output) if len(sizes) == 2 and sizes[-1] is not None]
    if len(last) == 1:
        classes = max(last[0], 2)
        notes += ["one output per input: taken for two classes"] if last[0] == 1 else []
    else:
        notes.append("the graph does not say how many classes it tells apart")
    ends = {node.op_type for node in model.graph.node if set(node.output) & {o.name for o in model.graph.output}}
    if ends & {"Softmax", "Sigmoid"}:
        notes.append("the graph ends in a softmax or sigmoid: outputs are probabilities")
    return Sketch(f"onnx:{path.name}", None, shape, classes, tuple(notes))


def _sizes(entry: Any) -> list[int | None]:
    shape = entry.type.tensor_type.shape
    return [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in shape.dim]


def _safetensors(path: Path) -> Sketch:
    weights = {name: list(tensor.shape) for name, tensor in read_weights(path).items() if tensor.ndim >= 2}
    notes = ["weights do not tell the architecture: name the factory that builds it"]
    shape = classes = None
    if weights:
        # Layers are named in the order of the file's names as a rule; numbers compare as numbers.
        ordered = sorted(weights.items(), key=lambda item: _natural(item[0]))
        (first, first_shape), (last, last_shape) = ordered[0], ordered[-1]
        classes = max(last_shape[0], 2)
        notes.append(f"classes: guessed from '{last}' {last_shape}")
        if len(first_shape) == 2:
            shape = (first_shape[1],)
            notes.append(f"shape: guessed from '{first}' {first_shape}")
        else:
            notes.append(
                f"'{first}' {first_shape} is a convolution over {first_shape[1]} channels (times its groups); "
                "height and width cannot be told"
            )
    else:
        notes.append("there is no weight matrix in the file")
    return Sketch("torch:module:factory", path.name, shape, classes, tuple(notes))


def _natural(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in name.split(".")]


def _skops(path: Path) -> Sketch:
    estimator, _ = read_skops(path)
    classes = getattr(estimator, "classes_", None)
    if classes is None or getattr(classes, "ndim", 0) != 1:
        raise ModelError(f"{path.name} holds a {type(estimator).__name__}, not a fitted classifier")
    features = getattr(estimator, "n_features_in_", None)
    notes = [f"{type(estimator).__name__}, classes {', '.join(str(c) for c in classes[:10])}"]
    if [str(c) for c in classes] != [str(i) for i in range(len(classes))]:
        notes.append("classes are not 0, 1, 2, ...: list them as `labels`")
    return Sketch(f"sklearn:{path.name}", None, (int(features),) if features else None, len(classes), tuple(notes))
