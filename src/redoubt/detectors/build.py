"""From a policy's guard to the detectors of step 6 that its rules need."""

from collections.abc import Iterator, Set
from pathlib import Path

from redoubt.data.base import Dataset
from redoubt.detectors.agreement import Agreement
from redoubt.detectors.base import Detector, Progress, silent
from redoubt.detectors.confidence import Confidence
from redoubt.detectors.deep_knn import DeepKnn
from redoubt.detectors.frames import Frames
from redoubt.detectors.squeezing import Squeezing
from redoubt.detectors.strip import Strip
from redoubt.models.base import Model
from redoubt.records import Guard, PolicyError


def build_detectors(
    guard: Guard,
    model: Model,
    second: Model | None,
    train: Dataset | None,
    wanted: Set[str],
    cache: Path | None = None,
    progress: Progress = silent,
) -> list[Detector]:
    """The detectors that give the wanted signals, and no others.  Signals of step 4 are not theirs.

    Args:
        guard: settings.
        model: answers.
        second: of `guard.detectors.second_model`, loaded.
        train: of `data.train`, loaded.
        wanted: names of signals.
        cache: folder where what deep k-NN learns is kept.
        progress: of that learning: examples done, and their total.

    Raises:
        PolicyError: a wanted signal needs training data or a second model, and there is none.
        ModelError, DataError, StorageError: as the detectors say.
    """
    return list(_built(guard, model, second, train, wanted, cache, progress))


def _built(
    guard: Guard,
    model: Model,
    second: Model | None,
    train: Dataset | None,
    wanted: Set[str],
    cache: Path | None,
    progress: Progress,
) -> Iterator[Detector]:
    settings = guard.detectors
    if wanted & set(DeepKnn.signals):
        yield DeepKnn.fit(model, _needed(train, wanted, DeepKnn), settings.deep_knn, cache=cache, progress=progress)
    if wanted & set(Squeezing.signals):
        yield Squeezing(settings.squeezing, model)
    if wanted & set(Strip.signals):
        yield Strip(settings.strip, model, _needed(train, wanted, Strip))
    if wanted & set(Agreement.signals):
        if second is None:
            raise PolicyError(
                "a rule reads signals.models_agree, and guard.detectors.second_model is absent",
                remedy="name the other model: detectors: {second_model: {source: …}}, or drop the rule",
            )
        yield Agreement(second, model.face)
    if wanted & set(Frames.signals):
        yield Frames(settings.frames)
    if wanted & set(Confidence.signals):
        yield Confidence()


def _needed(train: Dataset | None, wanted: Set[str], detector: type[Detector]) -> Dataset:
    if train is None:
        raise PolicyError(
            f"a rule reads signals.{_first(wanted, detector)}, which needs training data, and data.train is absent",
            remedy="name the training data: data: {train: …}, or drop the rule",
        )
    return train


def _first(wanted: Set[str], detector: type[Detector]) -> str:
    return next(signal for signal in detector.signals if signal in wanted)
