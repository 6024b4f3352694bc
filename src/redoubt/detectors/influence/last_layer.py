"""The last layer of a classifier: what goes into it, and what it makes of that."""

from typing import Any

import torch
from torch import Tensor, nn

from redoubt.models import Model, TorchModel
from redoubt.records import ModelError

_BATCH = 500
_CLOSE = 1e-3
_REMEDY = "the trail of neighbours alone needs no such layer: --by neighbours"


class LastLayer:
    """A torch model whose logits are a linear layer's output.

    Args:
        model: the model.

    Raises:
        ModelError: it is no torch model, or its answers are not what a last linear layer gives.
    """

    def __init__(self, model: Model) -> None:
        if not isinstance(model, TorchModel):
            raise ModelError(f"the layers of a {type(model).__name__} cannot be differentiated here", remedy=_REMEDY)
        self._model = model
        linear = [part for part in model.module.modules() if isinstance(part, nn.Linear)]
        self._layer = self._last_called(linear)
        self.weight = self._layer.weight.detach().double()
        self.bias = (
            self._layer.bias.detach().double()
            if self._layer.bias is not None
            else torch.zeros(len(self.weight), dtype=torch.float64)
        )
        self._check()

    def features(self, x: Tensor) -> Tensor:
        """What goes into the layer, with a one for its bias: float64 `[B, D + 1]` of inputs `[B, *shape]`."""
        parts = [self._some(part) for part in torch.split(x, _BATCH)]
        features = torch.cat(parts).double()
        return torch.cat([features, torch.ones(len(features), 1, dtype=torch.float64)], dim=1)

    def logits(self, features: Tensor) -> Tensor:
        """The layer's output, float64 `[B, K]`, from `features`."""
        return features[:, :-1] @ self.weight.T + self.bias

    def _some(self, x: Tensor) -> Tensor:
        heard: list[Tensor] = []

        def listen(_module: nn.Module, given: tuple[Any, ...]) -> None:
            heard.append(given[0].detach().flatten(1))

        handle = self._layer.register_forward_pre_hook(listen)
        try:
            self._model.query(x)
        finally:
            handle.remove()
        return heard[-1]

    def _last_called(self, linear: list[nn.Linear]) -> nn.Linear:
        called: list[nn.Linear] = []
        handles = [part.register_forward_hook(lambda module, _given, _output: called.append(module)) for part in linear]
        try:
            self._model.query(self._middle())
        finally:
            for handle in handles:
                handle.remove()
        if not called or called[-1].out_features != self._model.face.classes:
            raise ModelError("the model does not end in a linear layer with an output for each class", remedy=_REMEDY)
        return called[-1]

    def _check(self) -> None:
        """The answers are the layer's own, up to a constant that softmax takes away."""
        x = self._middle()
        scores = self._model.query(x).scores
        own = self.logits(self.features(x)).softmax(dim=1)
        if scores is None or (scores.double().softmax(dim=1) - own).abs().max() > _CLOSE:
            raise ModelError("the model changes what its last linear layer says", remedy=_REMEDY)

    def _middle(self) -> Tensor:
        face = self._model.face
        rng = torch.Generator().manual_seed(0)
        return face.low + (face.high - face.low) * torch.rand(4, *face.shape, generator=rng)
