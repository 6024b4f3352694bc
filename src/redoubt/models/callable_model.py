"""Any Python callable as a model that can be asked, but not differentiated."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from redoubt.models.adapter import Adapter, Outputs, face_of
from redoubt.models.base import Face, Model
from redoubt.models.importing import import_named, named_parts, source_texts
from redoubt.models.locate import Locate, first_line, placed
from redoubt.records import ModelError, ModelSource, digest

Batch: TypeAlias = Literal["numpy", "torch"]


class CallableModel(Model):
    """A function from a batch of inputs to scores.

    Args:
        function: takes `[B, *face.shape]` float32, returns scores `[B, K]` as an array, a tensor or nested lists.
        face: see `Face`.
        mean, std: normalisation before the function, one number or one per channel.
        outputs: what the function returns.
        takes: what batches are: `numpy` arrays or `torch` tensors.  When absent: torch if the function's first
            parameter is annotated as a `Tensor`, else numpy.

    >>> model = CallableModel(lambda x: x @ [[1.0, -1.0], [0.0, 2.0]], Face((2,), 0.0, 1.0, classes=2))
    >>> model.query(torch.tensor([[1.0, 0.0]])).labels
    tensor([0])
    """

    def __init__(
        self,
        function: Callable[..., object],
        face: Face,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        outputs: Outputs = "logits",
        takes: Batch | None = None,
    ) -> None:
        super().__init__(face)
        self._function = function
        self._adapter = Adapter(face, mean, std, outputs)
        self._takes: Batch = takes or _annotated(function)

    @classmethod
    def from_source(cls, source: ModelSource, base: Path, locate: Locate) -> "CallableModel":
        """Import what `python:<module>:<callable>` names.

        Raises:
            ModelError: it cannot be imported, or is not callable.
        """
        with placed(locate, "source"):
            module, name = named_parts(source.source.removeprefix("python:"), "python", "callable")
            function = import_named(module, name, base)
        given = source.input
        return cls(function, face_of(source), mean=given.mean, std=given.std, outputs=source.outputs)

    def _scores(self, x: Tensor) -> Tensor:
        # A copy, so that a function that works in place cannot change what it is asked about.
        batch = self._adapter.inward(x.detach().cpu()).clone()
        try:
            raw = self._function(batch if self._takes == "torch" else batch.numpy())
            answer = raw.detach().cpu() if isinstance(raw, Tensor) else torch.from_numpy(_floats(raw))
        except Exception as error:  # the wall to somebody else's code, which may raise anything
            raise ModelError(
                f"{_name(self._function)} fails on a batch of shape {list(batch.shape)}: {first_line(error)}",
                remedy=f"it gets a {self._takes} batch and returns scores [batch, classes]",
            ) from error
        return self._adapter.outward(answer).to(x.device)

    def digest(self) -> str:
        """Over the source text of the function's module; over its name alone where there is no source text.

        What the function reads elsewhere (files, globals, services) is not covered.
        """
        home = getattr(self._function, "__module__", None) or type(self._function).__module__
        return digest(
            {
                "kind": "python",
                "callable": f"{home}:{_name(self._function)}",
                "text": _text(self._function),
                "source": source_texts(home),
                "face": self._adapter.describe(),
            }
        )


def _floats(raw: object) -> np.ndarray:
    array = np.asarray(raw)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"it returns {array.dtype} values, not numbers")
    return array.astype(np.float32) if array.dtype.kind == "f" else array.astype(np.int64)


def _annotated(function: Callable[..., object]) -> Batch:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return "numpy"
    hint = parameters[0].annotation if parameters else None
    return "torch" if hint is Tensor or (isinstance(hint, str) and hint.endswith("Tensor")) else "numpy"


def _text(function: Callable[..., object]) -> str | None:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return None


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", type(function).__qualname__)
