"""What the detectors of poison look at: a training set, as the model that was trained on it sees it."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from redoubt.data import Dataset
from redoubt.models.base import Model
from redoubt.models.tapped import Tapped, default_layers

_ASKED = 500


@dataclass(frozen=True)
class Trained:
    """N training examples as the suspect model sees them.

    Attributes:
        features: float32 `[N, D]`, of the layer before the last linear one.
        logits: float32 `[N, K]`.
        y: the labels they were trained with, int64 `[N]`.
    """

    features: Tensor
    logits: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def classes(self) -> Iterator[tuple[int, Tensor]]:
        """Each class that there is, and its rows, int64."""
        for label in sorted(set(self.y.tolist())):
            yield label, (self.y == label).nonzero().squeeze(1)


def look_at(model: Model, data: Dataset, layer: str | None = None) -> Trained:
    """Ask a model about its own training set.

    Args:
        model: the suspect; its layers must be visible (torch or ONNX) for more than the input to be compared.
        data: N examples with the labels as they were trained.
        layer: whose output is compared; chosen when None.
    """
    chosen = layer or default_layers(model)[-1]
    tapped = Tapped(model, [chosen])
    scores, features = [], []
    for part in torch.split(data.x, _ASKED):
        score, seen = tapped.run(part)
        scores.append(score)
        features.append(seen[chosen])
    return Trained(torch.cat(features), torch.cat(scores), data.y)
