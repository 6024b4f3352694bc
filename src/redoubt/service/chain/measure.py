"""Steps 4 to 6: what is remembered, what the model says, and whether anything supports it."""

from collections.abc import Mapping

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from redoubt.detectors.base import Detector, Seen
from redoubt.records.signals import SIGNALS, Step
from redoubt.service.backends import Backend
from redoubt.service.chain.rulebook import Rulebook
from redoubt.service.chain.walk import Inputs

_log = structlog.get_logger("redoubt.guard")
_AT_ONCE = 256  # inputs that a detector sees at a time, so that its memory has a bound


def recall(inputs: Inputs, book: Rulebook, now: float) -> None:
    """4 recall: fingerprints of the inputs, and how many earlier queries are like them."""
    keeps = "fingerprint" in book.guard.record.keep
    wanting = [row for row in range(len(inputs)) if keeps or _wants(inputs, book, row, Step.RECALL)]
    if not wanting:
        return
    found = book.recall.look(
        inputs.x[wanting],
        [inputs.walks[row].whose()[0].account for row in wanting],
        [inputs.digests[row] for row in wanting],
        now,
    )
    inputs.hashes = np.zeros((len(inputs), found.hashes.shape[1]), dtype=np.uint64)
    inputs.hashes[wanting] = found.hashes
    for name, values in found.signals.items():
        _put(inputs, wanting, name, values)


def infer(inputs: Inputs, book: Rulebook) -> Mapping[str, NDArray[np.float32]]:
    """5 infer: the scores, by the model that the tier gets.

    Returns:
        Outputs of the tapped layers of the policy's model, `[N, D]` by name, for step 6.
    """
    if not len(inputs):
        return {}
    inferred = book.backend.infer(inputs.x)
    inputs.scores[:] = inferred.scores
    robust = [row for row in range(len(inputs)) if inputs.walks[row].whose()[1].model == "robust"]
    answer_anew(inputs, robust, book.robust)
    _label(inputs)
    return inferred.features


def answer_anew(inputs: Inputs, rows: list[int], backend: Backend | None) -> None:
    """Let the robust model answer some of the inputs.  Without one, they get no answer at all."""
    if rows:
        inputs.scores[rows] = np.nan if backend is None else backend.infer(inputs.x[rows]).scores
        _label(inputs)


def support(inputs: Inputs, features: Mapping[str, NDArray[np.float32]], book: Rulebook) -> None:
    """6 support: each detector looks at the inputs of the tiers whose rules mention one of its signals.

    A detector that fails has measured nothing, which the monitor takes for a refusal.
    """
    for detector in book.detectors:
        rows = [
            row
            for row in range(len(inputs))
            if not book.wanted(inputs.walks[row].whose()[0].tier).isdisjoint(detector.signals)
        ]
        for start in range(0, len(rows), _AT_ONCE):
            _look(detector, inputs, features, rows[start : start + _AT_ONCE])


def _look(detector: Detector, inputs: Inputs, features: Mapping[str, NDArray[np.float32]], rows: list[int]) -> None:
    which = slice(None) if len(rows) == len(inputs) else rows  # nearly always all, which need not be copied
    seen = Seen(
        torch.from_numpy(inputs.x[which]),
        torch.from_numpy(inputs.scores[which]),
        {name: torch.from_numpy(values[which]) for name, values in features.items()},
        tuple(_stream(inputs, row) for row in rows),
    )
    try:
        for name, values in detector.look(seen).items():
            _put(inputs, rows, name, values.numpy())
    except Exception:  # the wall: whatever breaks in a detector, the guard goes on and says no
        _log.exception("detector failed", detector=type(detector).__name__)


def _stream(inputs: Inputs, row: int) -> str | None:
    """Streams are an account's own: nobody can add frames to another's."""
    walk = inputs.walks[row]
    stream = walk.query.stream if walk.query else None
    return None if stream is None else f"{walk.whose()[0].account}\0{stream}"


def _wants(inputs: Inputs, book: Rulebook, row: int, step: Step) -> bool:
    wanted = book.wanted(inputs.walks[row].whose()[0].tier)
    return any(SIGNALS[name].step is step for name in wanted)


def _put(inputs: Inputs, rows: list[int], name: str, values: NDArray[np.float64]) -> None:
    for row, value in zip(rows, values.tolist(), strict=True):
        inputs.signals[row][name] = value


def _label(inputs: Inputs) -> None:
    sound = np.isfinite(inputs.scores).all(axis=1)
    inputs.labels[:] = np.where(sound, inputs.scores.argmax(axis=1), -1)
