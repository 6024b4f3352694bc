"""Labelled data with provenance."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Dataset:
    """N labelled inputs, in the range of the model they were loaded for.

    Attributes:
        x: float32 `[N, *shape]`.
        y: int64 `[N]`, in 0..K-1.
        source: the data source as the policy names it.
        digest: `sha256:<hex>` over x and y as loaded and taken.
    """

    x: Tensor
    y: Tensor
    source: str
    digest: str

    def __len__(self) -> int:
        return len(self.y)
