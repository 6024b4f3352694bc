"""The training examples nearest to a logged input: why deep k-NN found its answer credible, or did not.

The model runs once more here, outside the nine steps: only on inputs that the log holds and proves, which went through
the steps when they were asked, and nothing of its answer is shown but which training examples lie near.
"""

import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from redoubt.data import load_data
from redoubt.detectors import DeepKnn
from redoubt.policy import parse_policy
from redoubt.records import StorageError, digest
from redoubt.service.backends import Embedded
from redoubt.service.chain import Rulebook
from redoubt.service.ui.views.picture import Drawn, draw

_COUNT = 8


@dataclass(frozen=True)
class Near:
    """One training example.

    Attributes:
        row: its place in the training data.
        label: its class, by name.
        similarity: cosine similarity in the last layer, -1 to 1.
        drawn: the example itself.
    """

    row: int
    label: str
    similarity: float
    drawn: Drawn


@dataclass(frozen=True)
class _Examples:
    """The training data, as long as the policy names the same.

    Attributes:
        key: what the policy says of them.
        x: float32 `[N, *shape]`, mapped from a nameless file that goes with this.
        y: int64 `[N]`.
    """

    key: str
    x: NDArray[np.float32]
    y: NDArray[np.int64]


class Nearest:
    """Finds them.

    The training data are loaded when the first page wants some, which takes seconds, and then lie in a temporary file:
    a guard's memory does not grow because somebody looks.

    Args:
        path: the policy file, beside which relative files lie.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._examples: _Examples | None = None

    def find(self, x: NDArray[np.float32], book: Rulebook, text: str) -> list[Near] | str:
        """Those nearest to an input `[*shape]`, nearest first; or why there are none.

        Args:
            x: of a logged and proved entry.
            book: the rulebook in force.
            text: its policy.

        Raises:
            RedoubtError: the training data cannot be loaded any more.
        """
        detector = next((each for each in book.detectors if isinstance(each, DeepKnn)), None)
        if detector is None:
            return "No rule in force asks deep k-NN, which would know them."
        if not isinstance(book.backend, Embedded):
            return "The model is behind another server, and its layers cannot be seen."
        # Tapped lets several threads in, one after the other: the chain goes on between.
        features = book.backend.infer(x[None]).features
        rows, similarities = detector.neighbours(
            {name: torch.from_numpy(values) for name, values in features.items()}, _COUNT
        )
        with self._lock:
            examples = self._loaded(book, text)
        learnt = detector.rows.numpy()
        if examples is None or learnt.max() >= len(examples.y) or (examples.y[learnt] != detector.labels.numpy()).any():
            return "The training data are not those any more that deep k-NN learnt from."
        return [
            Near(row, book.face.name_of(int(examples.y[row])), similarity, draw(np.array(examples.x[row]), book.face))
            for row, similarity in zip(rows[0].tolist(), similarities[0].tolist(), strict=True)
        ]

    def _loaded(self, book: Rulebook, text: str) -> _Examples | None:
        """The training data that a policy names, if it names any."""
        file = parse_policy(text.encode(), self._path)
        source, face = file.policy.data.train, book.face
        if source is None:
            return None
        key = digest([digest(source), repr(face)])
        if self._examples is None or self._examples.key != key:
            data = load_data(source, face, file.base, lambda *keys: file.place("data", "train", *keys))
            self._examples = _Examples(key, _on_disk(data.x.numpy()), data.y.numpy())
        return self._examples


def _on_disk(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same, in a temporary file without a name, which goes when nobody uses it any more.

    Raises:
        StorageError: the disk refuses.
    """
    try:
        with tempfile.TemporaryFile() as file:
            x.tofile(file)
            return np.memmap(file, dtype=x.dtype, mode="r", shape=x.shape)
    except OSError as error:
        raise StorageError(
            f"no room for a temporary copy of the training data: {error.strerror or error}",
            remedy="free some space in the folder for temporary files",
        ) from error
