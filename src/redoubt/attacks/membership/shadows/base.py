"""What trains shadow models."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from redoubt.records.canonical import Json


class Trainer(Protocol):
    """Trains classifiers of one kind, each on records of its own."""

    def describe(self) -> Json:
        """Everything besides records and seeds that decides what comes out, for digests."""

    def scores(self, x: Tensor, y: Tensor, inside: Tensor, seeds: Sequence[int]) -> Tensor:
        """Train G models, and ask each of them about every record.

        Args:
            x: records `[N, *shape]` in the range of the face.
            y: labels, int64 `[N]`.
            inside: bool `[G, N]`: what each is trained on; all of the same number of records.
            seeds: of each model's initial weights, order of batches and whatever else it draws.

        Returns:
            Logits or log-probabilities, float32 `[G, N, K]`.

        Raises:
            ModelError: training fails, or what comes out is no classifier of the face.
        """
