"""A model of the adversary's own, with its gradients, and what its last layer sees."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from redoubt.models.adapter import Adapter
from redoubt.records import ModelError


@dataclass(frozen=True)
class Surrogate:
    """A trained torch module in evaluation mode, and what stands before and behind it."""

    module: nn.Module
    adapter: Adapter

    def logits(self, x: Tensor) -> Tensor:
        """Of inputs `[B, *shape]` in the range of the face: float32 `[B, K]`; differentiable."""
        return self.adapter.outward(_first(self.module(self.adapter.inward(x))))

    def features(self, x: Tensor) -> Tensor:
        """What the last linear layer takes, float32 `[B, D]`; differentiable.

        Raises:
            ModelError: the module does not end in a linear layer.
        """
        seen: list[tuple[Tensor, Tensor]] = []
        hooks = [
            part.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
            for part in self.module.modules()
            if isinstance(part, nn.Linear)
        ]
        try:
            raw = _first(self.module(self.adapter.inward(x)))
        finally:
            for hook in hooks:
                hook.remove()
        if not seen or seen[-1][1].shape != getattr(raw, "shape", None):
            raise ModelError(
                "the model does not end in a linear layer, by which influence is computed",
                remedy="leave chosen-flips and influence-point out",
            )
        return seen[-1][0].flatten(1)

    def parameters(self) -> list[Tensor]:
        """The weights that training moves."""
        return [weight for weight in self.module.parameters() if weight.requires_grad]

    @torch.no_grad()
    def look(self, x: Tensor, at_once: int = 512) -> Tensor:
        """`features` of many inputs, float64 `[N, D]`, without gradients."""
        return torch.cat([self.features(part) for part in torch.split(x, at_once)]).double()

    @torch.no_grad()
    def scores(self, x: Tensor, at_once: int = 512) -> Tensor:
        """`logits` of many inputs, `[N, K]`, without gradients."""
        return torch.cat([self.logits(part) for part in torch.split(x, at_once)])


def _first(raw: object) -> object:
    """Of a module with a detector, its logits alone."""
    return raw[0] if isinstance(raw, tuple) else raw
