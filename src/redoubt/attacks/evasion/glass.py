"""Models whose weak points are known, for the conformance of evasion attacks: linear, so that nothing hides."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from redoubt.models.base import Differentiable, Face
from redoubt.models.torch_model import TorchModel

_BLOCKS = 4  # classes that an input can show; further classes are never the answer


@dataclass(frozen=True)
class Glass:
    """A linear classifier of 64 pixels, and inputs for it: class k has the k-th block of pixels bright.

    Attributes:
        shape: of one input, of 64 coordinates.
        low, high: the input range.
        classes: 2, or 4 and more; classes from the 5th on have small random weights.
        dtype: of inputs and weights.
        decoy: whether there is one more class that is always second, and so never the answer.
    """

    shape: tuple[int, ...] = (1, 8, 8)
    low: float = 0.0
    high: float = 1.0
    classes: int = _BLOCKS
    dtype: torch.dtype = torch.float32
    decoy: bool = False

    def model(self) -> "GlassModel":
        """The classifier, bare."""
        return GlassModel(self)

    def in_training(self) -> TorchModel:
        """The classifier as a torch module that its owner has left in training mode: batch norm, dropout and all."""
        rng = Generator().manual_seed(3)
        norm = nn.BatchNorm1d(64)
        norm.running_mean = torch.rand(64, generator=rng) * 0.02
        norm.running_var = torch.full((64,), 1.0)
        last = nn.Linear(64, self.classes, bias=False)
        with torch.no_grad():
            last.weight.copy_(self.weight())
        # Even in evaluation mode a dropout here would do no harm; in training mode it zeroes most of the pixels.
        return TorchModel(nn.Sequential(nn.Flatten(), norm, nn.Dropout(0.9), last).train(), self.face)

    @property
    def face(self) -> Face:
        """The classifier's face."""
        return Face(self.shape, self.low, self.high, self.classes + self.decoy)

    def weight(self) -> Tensor:
        """Float `[classes, 64]`."""
        shown = min(self.classes, _BLOCKS)
        blocks = torch.eye(shown).repeat_interleave(64 // shown, dim=1)
        rest = 0.05 * torch.randn(self.classes - shown, 64, generator=Generator().manual_seed(5))
        return torch.cat([blocks, rest]).to(self.dtype)

    def images(self, count: int) -> tuple[Tensor, Tensor]:
        """Inputs whose true block is brighter than the others by 0.08 to 0.12 of the range; their labels."""
        shown = min(self.classes, _BLOCKS)
        rng = Generator().manual_seed(7)
        y = torch.arange(count) % shown
        x = 0.45 + 0.02 * torch.rand(count, 64, generator=rng)
        brighter = 0.08 + 0.01 * (3 * torch.arange(count)[:, None] % 5)
        x += brighter * torch.eye(shown)[y].repeat_interleave(64 // shown, dim=1)
        return (self.low + (self.high - self.low) * x.to(self.dtype)).view(count, *self.shape), y


class GlassModel(Differentiable):
    """The classifier of a `Glass`."""

    def __init__(self, glass: Glass = Glass()) -> None:  # it is frozen
        super().__init__(glass.face)
        self.glass, self.weight = glass, glass.weight()

    def logits(self, x: Tensor) -> Tensor:
        light = (x.flatten(1) - self.glass.low) / (self.glass.high - self.glass.low)
        logits = light @ self.weight.T
        if self.glass.decoy:
            logits = torch.cat([logits, logits.amax(dim=1, keepdim=True) - 0.3], dim=1)
        return logits

    def digest(self) -> str:
        return "sha256:" + "0" * 64


def glass_images(count: int) -> tuple[Tensor, Tensor]:
    """Inputs of the plain glass, and their labels."""
    return Glass().images(count)
