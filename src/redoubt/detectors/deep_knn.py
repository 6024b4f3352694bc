"""Deep k-nearest neighbours: do the training data support this answer? (Papernot and McDaniel 2018)."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.data.base import Dataset
from redoubt.detectors.base import Detector, Progress, Seen, silent
from redoubt.detectors.nearest import Nearest
from redoubt.detectors.reduction import Reduction, sample_rows
from redoubt.detectors.saved import read_state, write_state
from redoubt.models.base import Model
from redoubt.models.tapped import Tapped, default_layers
from redoubt.records import DataError, digest
from redoubt.records.guard import DeepKnn as Settings

CREDIBLE = 0.01
"""The bound on credibility of the default rule.

By the conformal guarantee, one in a hundred inputs from where the calibration data come from falls below it.  The model
has seen those data in training and knows them better than new ones; the bound is half of the 2 % of false refusals that
are allowed, to leave room for that.
"""

_NEAR = 0.95
_TIE = 1e-3  # less than one neighbour, in however many layers
_BATCH = 500


@dataclass(frozen=True)
class Layer:
    """The training data as one layer sees them.

    Attributes:
        reduction: from the layer's output to unit vectors.
        nearest: unit vectors of the N training points.
        near: least cosine similarity of a neighbour that supports.
    """

    reduction: Reduction
    nearest: Nearest
    near: float


class DeepKnn(Detector):
    """Credibility of an answer: how well the nearest training points, in several layers, agree with it.

    In each layer the k nearest training points are found.  A neighbour *supports* a label if it carries it and is near:
    as similar as the k-th neighbour of 95 % of the calibration examples.  (The paper counts labels alone, which noise
    and foreign images pass if only their neighbours agree.)  The nonconformity of a label is the number of neighbours
    over all layers that do not support it, and then, to tell equal numbers apart, how far the neighbours are; its
    credibility is the share of calibration examples whose own label has a
    nonconformity as great or greater (section 4, with counts as there); `knn_confidence` is one less the credibility of
    the second most credible label.

    An answer refused when its credibility is under b refuses a share b of clean inputs, if they come from where the
    calibration examples come from.

    Args:
        layers: what the layers know, in the order of the forward pass.
        labels: of the N training points, int64 `[N]`.
        rows: their places in the training data, int64 `[N]`.
        calibration: nonconformities of the calibration examples, float64, ascending.
        neighbours: k.
        classes: K.
    """

    signals: ClassVar[tuple[str, ...]] = ("credibility", "knn_confidence")
    not_covered: ClassVar[str] = (
        "An attacker who knows the layers and training data of the kind can push the features of an input among those "
        "of another class (redoubt.detectors.aware measures how often), and poisoned training data support what they "
        "teach. Inputs that the model reads wrongly for the same reason as it reads similar training inputs are "
        "credible."
    )

    def __init__(
        self,
        layers: Mapping[str, Layer],
        labels: Tensor,
        rows: Tensor,
        calibration: Tensor,
        neighbours: int,
        classes: int,
    ) -> None:
        self.taps = tuple(layers)
        self.layers, self.labels, self.rows, self.calibration = dict(layers), labels, rows, calibration
        self._k, self._classes = neighbours, classes
        # The search of one layer leaves the interpreter to others nearly all of the time.
        self._side_by_side = ThreadPoolExecutor(max(len(layers) - 1, 1), thread_name_prefix="deep-knn")

    @classmethod
    def fit(
        cls,
        model: Model,
        train: Dataset,
        settings: Settings,
        *,
        cache: Path | None = None,
        progress: Progress = silent,
    ) -> "DeepKnn":
        """Learn what supports the answers of a model: two passes over the training data, one of them over a sample.

        Args:
            model: torch or ONNX, or any if the only layer is `input`.
            train: the examples that the model was trained on, or others of their kind.
            settings: layers, k, size of the calibration split, dimensions.
            cache: folder where what was learnt is kept, under a digest of model, data and settings.  Whoever can write
                to it decides what is credible, as with the model's weights.
            progress: called with the number of examples done and their total.

        Raises:
            ModelError: there is no such layer.
            DataError: too few examples for the calibration split and k neighbours.
            StorageError: the cache cannot be written.
        """
        layers = settings.layers or default_layers(model)
        held = settings.calibration
        if len(train) - held < max(settings.neighbours, held):
            least = held + max(settings.neighbours, held)
            raise DataError(
                f"deep_knn: {train.source} has {len(train)} examples; {held} for calibration and "
                f"{settings.neighbours} neighbours need {least}",
                remedy=f"write calibration: {max(len(train) // 5, 20)} and neighbours: {min(settings.neighbours, 10)}, "
                "or give more training data",
            )
        key = digest(
            {
                "what": "deep k-NN 2",
                "model": model.digest(),
                "data": train.digest,
                "layers": list(layers),
                "neighbours": settings.neighbours,
                "calibration": held,
                "dimensions": settings.dimensions,
            }
        )
        path = None if cache is None else cache / f"deep-knn-{key.removeprefix('sha256:')}.safetensors"
        state = None if path is None else read_state(path, key)
        if state is None:
            state = _learn(Tapped(model, layers), train, settings, progress)
            if path is not None:
                write_state(path, key, state)
        else:
            progress(len(train), len(train))
        return cls._of(state, layers, settings.neighbours, model.face.classes)

    @classmethod
    def _of(cls, state: Mapping[str, Tensor], layers: tuple[str, ...], neighbours: int, classes: int) -> "DeepKnn":
        built = {
            layer: Layer(
                Reduction(state[f"{at}.mean"], state[f"{at}.basis"]),
                Nearest(state[f"{at}.points"]),
                float(state[f"{at}.near"]),
            )
            for at, layer in enumerate(layers)
        }
        return cls(built, state["labels"], state["rows"], state["calibration"], neighbours, classes)

    def look(self, seen: Seen) -> dict[str, Tensor]:
        """`credibility` of the model's answer and `knn_confidence`, float64 `[B]`; NaN for scores or features that are
        not finite, and for features of 1e19 or more.
        """
        nonconformity = torch.zeros(len(seen.x), self._classes, dtype=torch.float64)
        sound = torch.isfinite(seen.scores).all(dim=1)
        first, *others = self.layers
        under_way = [self._side_by_side.submit(self._look_at, name, seen.features[name]) for name in others]
        for finite, found in [self._look_at(first, seen.features[first]), *(each.result() for each in under_way)]:
            sound &= finite
            nonconformity += found
        worse = len(self.calibration) - torch.searchsorted(self.calibration, nonconformity)
        credibility = worse.double() / len(self.calibration)
        answered = seen.scores.argmax(dim=1, keepdim=True)
        signals = {
            "credibility": credibility.gather(1, answered)[:, 0],
            "knn_confidence": 1 - credibility.topk(2, dim=1).values[:, 1],
        }
        return {name: torch.where(sound, value, torch.nan) for name, value in signals.items()}

    def _look_at(self, name: str, output: Tensor) -> tuple[Tensor, Tensor]:
        """Of one layer: where its vectors are finite, bool `[B]`, and the nonconformity of each label, `[B, K]`."""
        layer = self.layers[name]
        vectors = layer.reduction(output)
        # they are not where the output is not, or too large to square
        return torch.isfinite(vectors).all(dim=1), _nonconformity(layer, vectors, self.labels, self._k, self._classes)

    def neighbours(self, features: Mapping[str, Tensor], count: int) -> tuple[Tensor, Tensor]:
        """The training examples nearest to B inputs in the last layer, as an explanation.

        Args:
            features: outputs of the tapped layers, `[B, D]`.
            count: how many for each.

        Returns:
            Their rows in the training data, int64 `[B, count]`, nearest first, and their cosine similarities.
        """
        name = self.taps[-1]
        layer = self.layers[name]
        similar, where = layer.nearest.search(layer.reduction(features[name]), min(count, len(self.rows)))
        order = similar.argsort(dim=1, descending=True)
        return self.rows[where.gather(1, order)], similar.gather(1, order)


def _nonconformity(layer: Layer, vectors: Tensor, labels: Tensor, k: int, classes: int) -> Tensor:
    """For each label, how many of the k nearest do not support it, and a part of one for their mean distance.

    Float64 `[B, K]`.
    """
    similar, where = layer.nearest.search(vectors, k)
    near = (similar >= layer.near).double()
    support = torch.zeros(len(vectors), classes, dtype=torch.float64).scatter_add_(1, labels[where], near)
    distance = (1 - similar.double().mean(dim=1, keepdim=True)) / 2  # in 0..1
    return k - support + _TIE * distance


def _learn(tapped: Tapped, train: Dataset, settings: Settings, progress: Progress) -> dict[str, Tensor]:
    """Everything that `DeepKnn` needs, as tensors by name."""
    order = torch.randperm(len(train), generator=Generator().manual_seed(0))
    held, rows = order[: settings.calibration], order[settings.calibration :].sort().values
    size = max(tapped.sizes.values())
    sample = _outputs(tapped, train.x[order[-sample_rows(size) :]])
    reductions = {name: Reduction.fit(output, settings.dimensions) for name, output in sample.items()}
    del sample
    points: dict[str, list[Tensor]] = {name: [] for name in tapped.layers}
    done = 0
    for part in torch.split(torch.cat([rows, held]), _BATCH):
        _, features = tapped.run(train.x[part])
        for name, output in features.items():
            points[name].append(reductions[name](output))
        done += len(part)
        progress(done, len(train))
    state = {"labels": train.y[rows], "rows": rows}
    nonconformity = torch.zeros(len(held), dtype=torch.float64)
    for at, name in enumerate(tapped.layers):
        every = torch.cat(points[name])
        mine, calibration = every[: len(rows)], every[len(rows) :]
        nearest = Nearest(mine)
        farthest = torch.cat(
            [nearest.search(part, settings.neighbours)[0].amin(dim=1) for part in torch.split(calibration, 64)]
        )
        near = farthest.double().quantile(1 - _NEAR)
        layer = Layer(reductions[name], nearest, float(near))
        every_label = torch.cat(
            [
                _nonconformity(layer, part, state["labels"], settings.neighbours, tapped.face.classes)
                for part in torch.split(calibration, 64)
            ]
        )
        nonconformity += every_label.gather(1, train.y[held][:, None])[:, 0]
        state |= {
            f"{at}.mean": reductions[name].mean,
            f"{at}.basis": reductions[name].basis,
            f"{at}.points": mine,
            f"{at}.near": near,
        }
    return state | {"calibration": nonconformity.sort().values}


def _outputs(tapped: Tapped, x: Tensor) -> dict[str, Tensor]:
    parts = [tapped.run(some)[1] for some in torch.split(x, _BATCH)]
    return {name: torch.cat([part[name] for part in parts]) for name in tapped.layers}
