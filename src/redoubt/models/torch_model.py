"""PyTorch modules as models."""

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from redoubt.models.adapter import Adapter, Outputs, face_of
from redoubt.models.base import Answer, Differentiable, Face, Scored
from redoubt.models.importing import folder_first, import_named, named_parts, source_texts
from redoubt.models.locate import Locate, first_line, placed
from redoubt.models.weights import digest_of_state, fit_weights, read_weights
from redoubt.records import ModelError, ModelSource, digest
from redoubt.supply.gate import Gate


class TorchModel(Differentiable):
    """A module under the face of a classifier.

    It answers as the module does in evaluation mode, and backward passes compute the gradient of the input alone.  A
    module whose owner has it in training mode, or with parameters that require gradients, is so again after each
    answer.  To switch takes a moment in which nobody else may use the module: one that threads share should be in
    evaluation mode, as those of `from_source` are.

    Args:
        module: moved to `device`.  Takes `[B, *face.shape]`, returns `[B, K]`, or `[B]` or `[B, 1]` for two classes;
            with a detector, a pair of that and a suspicion `[B]`: inputs are refused where it is above 0, or NaN.
        face: see `Face`.
        mean, std: normalisation before the module, one number or one per channel.
        outputs: what the module returns.
        device: where it computes; inputs come from any device and answers go back there.

    >>> model = TorchModel(nn.Linear(2, 3), Face((2,), 0.0, 1.0, classes=3))
    >>> model.query(torch.rand(4, 2)).scores.shape
    torch.Size([4, 3])
    """

    def __init__(
        self,
        module: nn.Module,
        face: Face,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        outputs: Outputs = "logits",
        device: str = "cpu",
    ) -> None:
        super().__init__(face)
        self._module = module.to(device)
        self._adapter = Adapter(face, mean, std, outputs, device)
        self._dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
        self._factory_module = type(module).__module__

    @classmethod
    def from_source(cls, source: ModelSource, base: Path, locate: Locate, device: str = "cpu") -> "TorchModel":
        """Build what `torch:<module>:<factory>` names, and give it its weights.

        The factory is called without arguments and with torch's random numbers seeded, so that a model without a
        weights file is the same one each time.

        Raises:
            ModelError: the weights are refused by the gate or do not fit, or the factory fails or builds no module.
        """
        weights = None
        if source.weights is not None:
            with placed(locate, "weights"):  # first: a demanded signature may cover the factory's module as well
                weights = read_weights(base / source.weights, Gate.of(source, base))
        with placed(locate, "source"):
            module_name, name = named_parts(source.source.removeprefix("torch:"), "torch", "factory")
            module = _build(module_name, name, base).eval().requires_grad_(False)
        if weights is not None and source.weights is not None:
            with placed(locate, "weights"):
                fit_weights(module, weights, source.weights)
        model = cls(
            module,
            face_of(source),
            mean=source.input.mean,
            std=source.input.std,
            outputs=source.outputs,
            device=device,
        )
        model._factory_module = module_name
        return model

    @property
    def module(self) -> nn.Module:
        """The module, which whoever trains it may change."""
        return self._module

    @property
    def inner(self) -> tuple[nn.Module, Adapter]:
        return self._module, self._adapter

    def logits(self, x: Tensor) -> Tensor:
        """Logits `[B, K]` of `[B, *face.shape]`, differentiable in `x`."""
        return self.scored(x).logits

    def scored(self, x: Tensor) -> Scored:
        """Logits, and the detector's suspicion if the module returns one.

        Raises:
            ModelError: the suspicion is not one float per input.
        """
        with _still(self.module):
            return self._forward(x)

    def training_logits(self, x: Tensor) -> Tensor:
        """Logits `[B, K]` in whatever mode the module is, differentiable in its parameters too: for who trains it."""
        return self._forward(x).logits

    def _forward(self, x: Tensor) -> Scored:
        raw = self.module(self._adapter.inward(x).to(self._dtype))
        if not isinstance(raw, tuple) or len(raw) != 2:
            return Scored(self._adapter.outward(raw).to(x.device))
        logits, suspicion = raw
        floats = isinstance(suspicion, Tensor) and suspicion.is_floating_point()
        if not floats or suspicion.shape not in ((len(x),), (len(x), 1)):
            told = list(suspicion.shape) if isinstance(suspicion, Tensor) else type(suspicion).__name__
            raise ModelError(
                f"the model's second output, its suspicion, is {told} for {len(x)} inputs",
                remedy="return (logits [batch, classes], suspicion [batch] of floats, refused above 0)",
            )
        return Scored(self._adapter.outward(logits).to(x.device), suspicion.float().reshape(-1).to(x.device))

    def _answer(self, x: Tensor) -> Answer:
        scored = self.scored(x)
        self._check_scores(x, scored.logits)
        refused = scored.refused
        labels = scored.logits.argmax(dim=1)
        labels[scored.logits.isnan().any(dim=1) | refused] = -1
        if scored.suspicion is None:
            return Answer(labels, scored.logits, refused)
        reasons = {row: f"suspicion {scored.suspicion[row]:.4g}" for row in refused.nonzero().squeeze(1).tolist()}
        return Answer(labels, scored.logits.masked_fill(refused[:, None], torch.nan), refused, reasons)

    def digest(self) -> str:
        """Over weights, the source text of the modules that define the factory and its layers, and the face.

        Modules of torch itself are left out: evidence names torch's version.
        """
        homes = {type(part).__module__ for part in self.module.modules()} | {self._factory_module}
        own = (home for home in homes if home.partition(".")[0] != "torch")
        return digest(
            {
                "kind": "torch",
                "weights": digest_of_state(self.module),
                "layout": repr(self.module),
                "source": source_texts(*own),
                "face": self._adapter.describe(),
            }
        )


@contextlib.contextmanager
def _still(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode and without gradients of its parameters; afterwards as it was."""
    awake = [part for part in module.modules() if part.training]
    learning = [weight for weight in module.parameters() if weight.requires_grad] if torch.is_grad_enabled() else []
    for part in awake:
        part.training = False
    for weight in learning:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for part in awake:
            part.training = True
        for weight in learning:
            weight.requires_grad_(True)


def _build(module_name: str, name: str, base: Path) -> nn.Module:
    factory = import_named(module_name, name, base)
    try:
        with folder_first(base), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            built = factory()
    except Exception as error:  # the wall to somebody else's code, which may raise anything
        needed = _arguments(factory)
        raise ModelError(
            f"the factory {module_name}:{name} fails: {first_line(error)}",
            remedy=f"it is called without arguments; give {needed} a default" if needed else f"mend {name}()",
        ) from error
    if not isinstance(built, nn.Module):
        raise ModelError(
            f"the factory {module_name}:{name} returns a {type(built).__name__}, not a torch.nn.Module",
            remedy="return the model, without weights, in any mode",
        )
    return built


def _arguments(factory: object) -> str:
    try:
        parameters = inspect.signature(factory).parameters.values() if callable(factory) else ()
    except (TypeError, ValueError):
        return ""
    empty = inspect.Parameter.empty
    positional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return ", ".join(p.name for p in parameters if p.default is empty and p.kind not in positional)
