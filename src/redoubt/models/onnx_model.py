"""ONNX files as models: answers by onnxruntime, gradients by a torch twin of the graph where there is one."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from redoubt.models.adapter import Adapter
from redoubt.models.base import Differentiable, Face, Model
from redoubt.models.extras import needs
from redoubt.models.locate import Locate, first_line, placed
from redoubt.models.onnx_file import read_onnx
from redoubt.models.onnx_node import Unsupported
from redoubt.models.onnx_torch import GraphModule, convert
from redoubt.models.twin import TOLERANCE, disagreement
from redoubt.records import ModelError, ModelSource, digest
from redoubt.supply.gate import Gate

_FLOATS = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16, "tensor(double)": torch.float64}


class OnnxSession:
    """An ONNX graph in onnxruntime, on one CPU thread so that answers are the same each time.

    Args:
        model: the graph, as `read_onnx` gives it.
        face: of the classifier.
        taps: names of tensors inside the graph that `run_tapped` returns as well.

    Raises:
        ModelError: onnxruntime refuses the graph, or its inputs and outputs are not those of a classifier of `face`.
    """

    def __init__(self, model: Any, face: Face, taps: Sequence[str] = ()) -> None:
        with needs("onnx"):
            import onnxruntime
        self.graph, self.taps = model, tuple(taps)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                _with_outputs(model, self.taps).SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the wall to onnxruntime, whose errors share no base
            raise ModelError(f"onnxruntime cannot load the model: {first_line(error)}", remedy="export it again") from (
                error
            )
        self.given, self.dtype, self.batch = _only_input(self._session.get_inputs(), face)
        outputs = self._session.get_outputs()
        self.wanted = _only_output(outputs[: len(outputs) - len(self.taps)], face)

    def run(self, x: Tensor) -> Tensor:
        """What the graph answers to `[B, *face.shape]`; B is cut into batches of the size the graph wants, if any."""
        return in_batches(lambda part: self._run(part)[0], x.detach().cpu().to(self.dtype), self.batch)

    def run_tapped(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the graph answers, then each tapped tensor, in the order of `taps`; all in one pass."""
        parts: list[tuple[Tensor, ...]] = []

        def keep(part: Tensor) -> Tensor:
            parts.append(self._run(part))
            return parts[-1][0]

        scores = in_batches(keep, x.detach().cpu().to(self.dtype), self.batch)
        taps = (torch.cat([part[1 + at] for part in parts])[: len(x)] for at in range(len(self.taps)))
        return scores, *taps

    def _run(self, x: Tensor) -> tuple[Tensor, ...]:
        try:
            answers = self._session.run([self.wanted, *self.taps], {self.given: x.contiguous().numpy()})
        except Exception as error:  # the wall to onnxruntime, whose errors share no base
            raise ModelError(
                f"onnxruntime fails on a batch of shape {list(x.shape)}: {first_line(error)}",
                remedy="export the model with a free first axis (dynamic batch), or fix the batch to 1",
            ) from error
        return tuple(torch.from_numpy(answer) for answer in answers)


class OnnxModel(Model):
    """An ONNX model that can be asked, but not differentiated.

    Attributes:
        session, adapter: the graph, and what stands between it and the face.
        why_not_differentiable: names the operators that have no twin in torch, or what else is in the way.
    """

    def __init__(self, session: OnnxSession, adapter: Adapter, content: str, why_not_differentiable: str) -> None:
        super().__init__(adapter.face)
        self.session, self.adapter, self._content = session, adapter, content
        self.why_not_differentiable = why_not_differentiable

    def _scores(self, x: Tensor) -> Tensor:
        return self.adapter.outward(self.session.run(self.adapter.inward(x.cpu()))).to(x.device)

    def digest(self) -> str:
        """Over the file's bytes, those of its external tensors, and the face."""
        return digest({"kind": "onnx", "content": self._content, "face": self.adapter.describe()})


class DifferentiableOnnxModel(Differentiable):
    """An ONNX model whose answers come from onnxruntime and whose logits and gradients come from its torch twin.

    So what an attack finds by the twin is confirmed or denied by the graph as it is deployed.  If the graph ends in a
    softmax or sigmoid and `outputs` is `probabilities`, the twin's logits are those before it.

    Attributes:
        asked: the model that answers, without the twin.
    """

    def __init__(
        self, session: OnnxSession, adapter: Adapter, content: str, twin: GraphModule, batch: int | None, device: str
    ) -> None:
        super().__init__(adapter.face)
        self.asked = OnnxModel(session, adapter, content, "")
        peeled = twin.peeled() if adapter.outputs == "probabilities" else None
        self._twin = (peeled if peeled else twin).to(device).eval()
        self._adapter = adapter.moved(device).with_outputs("logits") if peeled else adapter.moved(device)
        self._batch, self._dtype = batch, session.dtype

    @property
    def inner(self) -> tuple[GraphModule, Adapter]:
        return self._twin, self._adapter

    def logits(self, x: Tensor) -> Tensor:
        """Logits `[B, K]` of `[B, *face.shape]`, differentiable in `x`."""
        inside = self._adapter.inward(x).to(self._dtype)
        return self._adapter.outward(in_batches(self._twin, inside, self._batch)).to(x.device)

    def _scores(self, x: Tensor) -> Tensor:
        return self.asked._scores(x)

    def digest(self) -> str:
        """As for `OnnxModel`: the twin follows from the file."""
        return self.asked.digest()


def load_onnx(source: ModelSource, base: Path, locate: Locate, device: str = "cpu") -> Model:
    """The model that `onnx:<file>` names: a `DifferentiableOnnxModel` if a faithful twin can be made, else `OnnxModel`.

    Raises:
        ModelError: the file is unsafe or unsound, or not a classifier of the declared face.
    """
    adapter = Adapter.of(source)
    path = base / source.source.removeprefix("onnx:")
    with placed(locate, "source"):
        model, content = read_onnx(path, Gate.of(source, base))
    with placed(locate, "input", "shape"):
        session = OnnxSession(model, adapter.face)
        session.run(adapter.inward(_middle(adapter.face, session.batch or 1)))
    try:
        twin = convert(model, session.given, session.wanted).eval()
        batch = _faithful(twin, session, adapter)
    except Unsupported as reason:
        return OnnxModel(session, adapter, content, f"{path.name} uses {reason}, for which there is no gradient here")
    except _Unfaithful as reason:
        return OnnxModel(session, adapter, content, f"{path.name}: {reason}")
    return DifferentiableOnnxModel(session, adapter, content, twin, batch, device)


def in_batches(function: Callable[[Tensor], Tensor], x: Tensor, size: int | None) -> Tensor:
    """`function` over all rows of `x`, `size` at a time; the last rows are filled up with copies of the last one."""
    if size is None:
        return function(x)
    full = max(-(-len(x) // size), 1) * size
    last = x[-1:] if len(x) else x.new_zeros(1, *x.shape[1:])
    filled = torch.cat([x, last.expand(full - len(x), *x.shape[1:])]) if full > len(x) else x
    return torch.cat([function(filled[i : i + size]) for i in range(0, full, size)])[: len(x)]


class _Unfaithful(Exception):
    """The twin answers something else than the original."""


def _faithful(twin: GraphModule, session: OnnxSession, adapter: Adapter) -> int | None:
    """The batch size with which the twin agrees with onnxruntime: None if with any."""
    worst, sizes = float("inf"), [None] if session.batch is None else [None, session.batch]
    failed: Exception | None = None

    def original(x: Tensor) -> Tensor:
        return session.run(adapter.inward(x))

    for size in sizes:
        try:
            ask = partial(_run_twin, twin, session.dtype, adapter, size)
            worst = min(worst, disagreement(ask, original, adapter.face))
        except (RuntimeError, IndexError, ValueError, TypeError) as error:  # torch refuses what the graph asks for
            failed = error
            continue
        if worst <= TOLERANCE:
            return size
    if failed is not None and worst == float("inf"):
        raise Unsupported(f"shapes that the conversion to torch does not follow ({first_line(failed)})") from failed
    raise _Unfaithful(
        f"the torch twin of the graph differs from onnxruntime by {worst:.2g} of the largest score "
        f"(allowed: {TOLERANCE:g}), so its gradients cannot be trusted"
    )


def _run_twin(twin: GraphModule, dtype: torch.dtype, adapter: Adapter, size: int | None, x: Tensor) -> Tensor:
    return in_batches(twin, adapter.inward(x).to(dtype), size)


def _with_outputs(model: Any, names: tuple[str, ...]) -> Any:
    """The graph with more of its tensors as outputs; onnxruntime finds out their types."""
    if not names:
        return model
    more = type(model)()
    more.CopyFrom(model)
    for name in names:
        more.graph.output.add().name = name
    return more


def _middle(face: Face, rows: int) -> Tensor:
    return torch.full((rows, *face.shape), (face.low + face.high) / 2)


def _only_input(inputs: list[Any], face: Face) -> tuple[str, torch.dtype, int | None]:
    if len(inputs) != 1:
        names = ", ".join(entry.name for entry in inputs) or "none"
        raise ModelError(f"the graph takes {len(inputs)} inputs ({names}); expected one", remedy="export one input")
    (entry,) = inputs
    if entry.type not in _FLOATS:
        raise ModelError(f"the graph's input '{entry.name}' is a {entry.type}; expected floats", remedy="export floats")
    batch, *shape = entry.shape or [None]
    wrong = len(shape) != len(face.shape) or any(
        isinstance(size, int) and size != mine for size, mine in zip(shape, face.shape, strict=False)
    )
    if wrong and entry.shape:
        raise ModelError(
            f"the graph takes inputs of shape {[size if isinstance(size, int) else '?' for size in shape]}, "
            f"the policy says {list(face.shape)}",
            remedy="write the graph's shape, without the batch, as `shape`",
        )
    return entry.name, _FLOATS[entry.type], batch if isinstance(batch, int) else None


def _only_output(outputs: list[Any], face: Face) -> str:
    """The one output that can be scores: of floats, and if there are several, with one column per class."""
    floats = [entry for entry in outputs if entry.type in _FLOATS]
    fitting = [entry for entry in floats if entry.shape and entry.shape[-1] == face.classes]
    candidates = floats if len(floats) == 1 else fitting
    if len(candidates) != 1:
        told = ", ".join(f"{entry.name} {entry.type} {entry.shape}" for entry in outputs)
        raise ModelError(
            f"cannot tell which output holds the scores of {face.classes} classes: {told}",
            remedy="export the scores as the only tensor of floats (for scikit-learn: options={'zipmap': False})",
        )
    return str(candidates[0].name)
