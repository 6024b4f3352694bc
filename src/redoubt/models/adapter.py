"""What stands between a face and a classifier's own numbers: normalisation on the way in, logits on the way out."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from redoubt.models.base import Face
from redoubt.records import ModelError, ModelSource
from redoubt.records.canonical import Json

Outputs: TypeAlias = Literal["logits", "probabilities"]


def face_of(source: ModelSource) -> Face:
    """The face that a policy's `model` section declares."""
    low, high = source.input.range
    return Face(source.input.shape, low, high, source.classes, source.labels or ())


class Adapter:
    """Turns face inputs into what the classifier takes, and what it returns into logits.

    Args:
        face: the face to present.
        mean, std: one number, or one per channel (per feature for tables); `(x - mean) / std` reaches the classifier.
        outputs: what the classifier returns.  Probabilities become their logarithms, which are logits too.
        device: where the classifier computes.
    """

    def __init__(
        self,
        face: Face,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        outputs: Outputs = "logits",
        device: str = "cpu",
    ) -> None:
        self.face = face
        self.outputs: Outputs = outputs
        self._mean, self._std = tuple(mean or ()), tuple(std or ())
        self._device = device
        self._shift = self._per_channel(self._mean)
        self._scale = self._per_channel(self._std)

    @property
    def shift(self) -> Tensor | None:
        """What is subtracted, in a shape that broadcasts against one input; None for nothing."""
        return self._shift

    @property
    def scale(self) -> Tensor | None:
        """What divides after that; None for nothing."""
        return self._scale

    @classmethod
    def of(cls, source: ModelSource, device: str = "cpu") -> "Adapter":
        """The adapter that a policy's `model` section declares."""
        return cls(face_of(source), source.input.mean, source.input.std, source.outputs, device)

    def with_outputs(self, outputs: Outputs) -> "Adapter":
        """The same adapter for a classifier that returns something else."""
        return Adapter(self.face, self._mean, self._std, outputs, self._device)

    def moved(self, device: str) -> "Adapter":
        """The same adapter for a classifier on another device."""
        return Adapter(self.face, self._mean, self._std, self.outputs, device)

    def inward(self, x: Tensor) -> Tensor:
        """The classifier's input `[B, *face.shape]` for the face's `x`, on the classifier's device; differentiable."""
        x = x.to(self._device)
        if self._shift is not None:
            x = x - self._shift
        return x if self._scale is None else x / self._scale

    def outward(self, raw: object) -> Tensor:
        """Float32 logits `[B, K]` from what the classifier returned; differentiable.

        A binary classifier may return one number per input, `[B]` or `[B, 1]`: the logit z of class 1 becomes
        `[-z/2, z/2]`, its probability p becomes `[log(1 - p), log(p)]`.

        >>> import torch
        >>> Adapter(Face((1,), 0.0, 1.0, classes=2)).outward(torch.tensor([3.0, -1.0]))
        tensor([[-1.5000,  1.5000],
                [ 0.5000, -0.5000]])

        Raises:
            ModelError: not a tensor of floats.
        """
        if not isinstance(raw, Tensor):
            raise ModelError(
                f"the model returns a {type(raw).__name__}, not a tensor",
                remedy="return the scores alone, as one tensor [batch, classes]",
            )
        if not raw.is_floating_point():
            raise ModelError(
                f"the model answers {raw.dtype} numbers; scores are floats",
                remedy="return logits or probabilities [batch, classes], not labels",
            )
        raw = raw.float()
        if self.face.classes == 2 and (raw.ndim == 1 or raw.shape[1:] == (1,)):
            one = raw.reshape(-1)
            pair = (1 - one, one) if self.outputs == "probabilities" else (-one / 2, one / 2)
            raw = torch.stack(pair, dim=1)
        return log_of(raw) if self.outputs == "probabilities" else raw

    def describe(self) -> Json:
        """Everything here that decides the answers, for digests."""
        face = self.face
        return {
            "shape": list(face.shape),
            "range": [face.low, face.high],
            "classes": face.classes,
            "mean": list(self._mean),
            "std": list(self._std),
            "outputs": self.outputs,
        }

    def _per_channel(self, values: tuple[float, ...]) -> Tensor | None:
        if not values:
            return None
        trailing = [1] * (len(self.face.shape) - 1) if len(values) > 1 else []
        return torch.tensor(values, dtype=torch.float32, device=self._device).view(-1, *trailing)


def log_of(probabilities: Tensor) -> Tensor:
    """Logarithms of probabilities, clamped to the smallest normal float32 so that they stay finite; NaN stays NaN."""
    return probabilities.clamp_min(torch.finfo(torch.float32).tiny).log()
