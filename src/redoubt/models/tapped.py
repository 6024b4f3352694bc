"""Outputs of a model's inner layers, from the same forward pass as its scores."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from redoubt.models.base import Face, Model
from redoubt.models.onnx_model import DifferentiableOnnxModel, OnnxModel, OnnxSession
from redoubt.models.torch_model import TorchModel
from redoubt.records import ModelError

INPUT = "input"
"""The layer that every model has: the input itself."""

_NAMED = 12  # layers that a message names at most


class Tapped:
    """A model that gives the outputs of some of its layers along with its scores, in one forward pass.

    A layer is the name of a submodule (torch), of a tensor in the graph (ONNX), or `input`, the input itself, which
    any model has.  Calls from several threads wait for each other; other users of the same torch module are not seen,
    and do not see the taps.

    Args:
        model: the model.  Layers other than `input` need torch or ONNX.
        layers: their names; none at all makes `run` an ordinary query.

    Raises:
        ModelError: a layer is unknown (the remedy names those there are), or is none of floats with a row per input.
    """

    def __init__(self, model: Model, layers: Sequence[str]) -> None:
        self.model, self.layers = model, tuple(layers)
        self.face: Face = model.face
        inner = tuple(layer for layer in self.layers if layer != INPUT)
        self._ask = _asker(model, inner)
        _, features = self.run(torch.full((2, *self.face.shape), (self.face.low + self.face.high) / 2))
        self.sizes: Mapping[str, int] = {layer: tensor.shape[1] for layer, tensor in features.items()}

    def run(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Answer B inputs `[B, *face.shape]`.

        Returns:
            Scores, float32 `[B, K]`, and the output of each layer, float32 `[B, D]`, flattened.
        """
        self.model._check_inputs(x)
        with torch.no_grad():
            scores, found = self._ask(x)
        self.model._check_scores(x, scores)
        return scores, {layer: _flat(layer, x if layer == INPUT else found[layer], len(x)) for layer in self.layers}

    def trace(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """As `run`, under autograd.

        Raises:
            ModelError: the model is not a torch module.
        """
        if not isinstance(self.model, TorchModel):
            raise ModelError(
                f"a {type(self.model).__name__} has no gradients of its layers", remedy="use the torch model itself"
            )
        scores, found = self._ask(x)
        return scores, {layer: _flat(layer, x if layer == INPUT else found[layer], len(x)) for layer in self.layers}


def layers_of(model: Model) -> tuple[str, ...]:
    """Names of the layers that `Tapped` can give, in the order of the forward pass where it is known."""
    match model:
        case TorchModel():
            return (INPUT, *(name for name, _ in model.module.named_modules() if name))
        case OnnxModel():
            return (INPUT, *_onnx_names(model.session))
        case DifferentiableOnnxModel():
            return layers_of(model.asked)
    return (INPUT,)


def default_layers(model: Model) -> tuple[str, ...]:
    """Layers that serve to compare inputs: the last with spatial extent, and the one before the last linear layer.

    A model whose layers cannot be seen gets `input`.

    Returns:
        One or two names, in the order of the forward pass.
    """
    steps = _steps(model)
    linear = [at for at, (_, _, is_linear) in enumerate(steps) if is_linear]
    before = steps[: linear[-1]] if linear else steps[:-1]  # without the layer that makes the scores
    if not before:
        return (INPUT,)
    spatial = [name for name, rank, _ in before if rank > 2]
    return tuple(dict.fromkeys([*spatial[-1:], before[-1][0]]))


# ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

_Asker = Callable[[Tensor], tuple[Tensor, Mapping[str, Tensor]]]


def _asker(model: Model, layers: tuple[str, ...]) -> _Asker:
    if not layers:
        return lambda x: (model._scores(x), {})
    unknown = [layer for layer in layers if layer not in layers_of(model)]
    if unknown:
        raise _unknown(model, unknown[0])
    match model:
        case TorchModel():
            return _torch_asker(model, layers)
        case DifferentiableOnnxModel():
            return _onnx_asker(model.asked, layers)
        case OnnxModel():
            return _onnx_asker(model, layers)
    raise _unknown(model, layers[0])


def _torch_asker(model: TorchModel, layers: tuple[str, ...]) -> _Asker:
    modules = {layer: model.module.get_submodule(layer) for layer in layers}
    lock = threading.Lock()

    def ask(x: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        with lock, _listening(modules) as heard:
            scored = model.scored(x)
        scores = scored.logits.masked_fill(scored.refused[:, None], torch.nan)  # as a query shows them
        return scores, {layer: _heard(layer, heard) for layer in layers}

    return ask


def _heard(layer: str, heard: Mapping[str, object]) -> Tensor:
    if layer not in heard:
        raise ModelError(f"the forward pass does not call layer '{layer}'", remedy="name a layer that it calls")
    output = heard[layer]
    if not isinstance(output, Tensor):
        raise ModelError(
            f"layer '{layer}' returns a {type(output).__name__}, not a tensor", remedy="name one of the layers inside"
        )
    return output.cpu()


@contextmanager
def _listening(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, object]]:
    """The last output of each module in this thread.  Copied: a layer that works in place may come after."""
    heard: dict[str, object] = {}
    mine = threading.get_ident()

    def hook(layer: str) -> Callable[[nn.Module, object, object], None]:
        def note(_module: nn.Module, _inputs: object, output: object) -> None:
            if threading.get_ident() == mine:
                heard[layer] = output.clone() if isinstance(output, Tensor) else output

        return note

    handles = [module.register_forward_hook(hook(layer)) for layer, module in modules.items()]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def _onnx_asker(model: OnnxModel, layers: tuple[str, ...]) -> _Asker:
    session = OnnxSession(model.session.graph, model.face, layers)

    def ask(x: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        answer, *taps = session.run_tapped(model.adapter.inward(x.cpu()))
        return model.adapter.outward(answer).to(x.device), dict(zip(layers, taps, strict=True))

    return ask


def _flat(layer: str, output: Tensor, rows: int) -> Tensor:
    if not output.is_floating_point() or output.dim() < 2 or len(output) != rows:
        raise ModelError(
            f"layer '{layer}' gives {output.dtype} {list(output.shape)} for {rows} inputs; "
            "expected floats with a row per input",
            remedy="name another layer",
        )
    return output.flatten(1).float()


def _unknown(model: Model, layer: str) -> ModelError:
    known = layers_of(model)
    if len(known) == 1:
        return ModelError(
            f"there is no layer '{layer}': the layers of a {type(model).__name__} cannot be seen",
            remedy=f"write layers: [{INPUT}], or serve a torch or ONNX model",
        )
    told = ", ".join(known[:_NAMED]) + (f" … {known[-1]}" if len(known) > _NAMED else "")
    return ModelError(f"the model has no layer '{layer}'", remedy=f"name one of {told}")


# ── what layers there are ────────────────────────────────────────────────────────────────────────────────────────


def _steps(model: Model) -> list[tuple[str, int, bool]]:
    """Steps of the forward pass in their order: name, rank of the output, whether it is a linear map of rows."""
    match model:
        case TorchModel():
            return _torch_steps(model)
        case DifferentiableOnnxModel():
            return _onnx_steps(model.asked)
        case OnnxModel():
            return _onnx_steps(model)
    return []


def _torch_steps(model: TorchModel) -> list[tuple[str, int, bool]]:
    leaves = {name: part for name, part in model.module.named_modules() if name and not any(part.children())}
    with torch.no_grad(), _listening(leaves) as heard:
        model.logits(torch.full((2, *model.face.shape), (model.face.low + model.face.high) / 2))
    # A dict keeps the order of first calls; a layer called again late keeps its early place, which is good enough.
    return [
        (name, output.dim(), isinstance(leaves[name], nn.Linear))
        for name, output in heard.items()
        if isinstance(output, Tensor) and output.is_floating_point() and output.dim() > 1 and len(output) == 2
    ]


def _onnx_names(session: OnnxSession) -> list[str]:
    return [name for node in session.graph.graph.node for name in node.output if name and name != session.wanted]


def _onnx_steps(model: OnnxModel) -> list[tuple[str, int, bool]]:
    session = model.session
    names = _onnx_names(session)
    linear = {name for node in session.graph.graph.node if node.op_type in ("Gemm", "MatMul") for name in node.output}
    rows = session.batch or 2
    middle = torch.full((rows, *model.face.shape), (model.face.low + model.face.high) / 2)
    _, *taps = OnnxSession(session.graph, model.face, names).run_tapped(model.adapter.inward(middle))
    steps = [
        (name, output.dim(), name in linear)
        for name, output in zip(names, taps, strict=True)
        if output.is_floating_point() and output.dim() > 1 and len(output) == rows
    ]
    return [*steps, (session.wanted, 2, session.wanted in linear)]
