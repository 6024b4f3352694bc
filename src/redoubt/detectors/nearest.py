"""Exact nearest neighbours among many unit vectors."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_BLOCKS_OF = 32
_SMALL = 4096  # below, one selection is as quick as two
_AT_ONCE = 16  # queries: their similarities to 60,000 points stay in the processor's cache


class Nearest:
    """The unit vectors of the training data in one layer.

    The similarities to all of them are one matrix product.  Selecting k of 60,000 would cost half of that again, so it
    is done in two steps, which lose nothing: each of the k greatest lies in one of the k blocks of 32 with the greatest
    maxima.  A block is every n-th point, so that the maxima of all blocks are taken over contiguous memory, however
    many queries there are.  All of it is NumPy's, which is quicker than torch in each part; it lets go of the
    interpreter, so that layers can be searched side by side.  On one core that takes less than half the time of faiss's
    `IndexFlatIP`, beside which it is tested.

    What could leave points out by bounds on distance does not pay here: balls around clusters of MNIST's features
    (k-means, 1,024 of them) rule out no more than 70 to 90 % of the points, a bound from the first 12 principal
    components 98 %, and what is then left costs as much to collect as the product that was saved.

    Args:
        points: float32 `[N, D]`, of length 1 each.
    """

    def __init__(self, points: Tensor) -> None:
        self._count = len(points)
        self._blocks = -(-self._count // _BLOCKS_OF)
        self._rows = np.zeros((self._blocks * _BLOCKS_OF, points.shape[1]), dtype=np.float32)
        self._rows[: self._count] = points.numpy()

    @property
    def points(self) -> Tensor:
        """As given."""
        return torch.from_numpy(self._rows[: self._count])

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k most similar points.

        Args:
            queries: float32 `[B, D]`, of length 1 each.
            k: at most N.

        Returns:
            Cosine similarities, float32 `[B, k]`, and indices of the points, int64 `[B, k]`, in no order.
        """
        asked = queries.numpy()
        found = [self._some(asked[start : start + _AT_ONCE], k) for start in range(0, max(len(asked), 1), _AT_ONCE)]
        similar, where = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return torch.from_numpy(similar), torch.from_numpy(where)

    def _some(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        count = len(queries)
        similar = self._rows @ np.ascontiguousarray(queries.T)
        similar[self._count :] = -np.inf
        if len(similar) <= max(_SMALL, 2 * k * _BLOCKS_OF):
            near = similar.T
            where = _greatest(near, k)
            return np.take_along_axis(near, where, axis=1), where
        chosen = _greatest(similar.reshape(_BLOCKS_OF, self._blocks, count).max(axis=0).T, k)
        # of the blocks that were chosen, all points: point i of block j lies in row i * blocks + j
        rows = (chosen[:, :, None] + np.arange(0, len(similar), self._blocks)).reshape(count, -1)
        some = similar.ravel().take(rows * count + np.arange(count)[:, None])
        best = _greatest(some, k)
        return np.take_along_axis(some, best, axis=1), np.take_along_axis(rows, best, axis=1)


def _greatest(values: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Columns of the k greatest of each row."""
    return np.asarray(np.argpartition(values, values.shape[1] - k, axis=1)[:, values.shape[1] - k :])
