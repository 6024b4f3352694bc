"""From votes to labels: noisy maxima, and checks that decide whether to answer at all.

| aggregator | answers | source |
|---|---|---|
| `Laplace` | always | Papernot et al. 2017, section 2.1 |
| `Gaussian` | always | Papernot et al. 2018, section 4.1 |
| `Confident` | where the most votes, with noise, reach a threshold | section 4.3, algorithm 1 |
| `Interactive` | where they differ from the student's own prediction; else confirms it if it is sure | algorithm 2 |
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from redoubt.harden.private.randomness import PrivateRandom, random_of
from redoubt.records import DataError, PolicyError


@dataclass(frozen=True)
class Laplace:
    """The class with the most votes, each count with Laplace noise of this scale."""

    scale: float


@dataclass(frozen=True)
class Gaussian:
    """The class with the most votes, each count with Gaussian noise of this deviation."""

    deviation: float


@dataclass(frozen=True)
class Confident:
    """`Gaussian`, asked only where the most votes, with noise of deviation `check`, reach `threshold`."""

    threshold: float
    check: float
    deviation: float


@dataclass(frozen=True)
class Interactive:
    """`Gaussian`, asked only where votes exceed the student's prediction, in teachers, by `threshold`, with noise.

    Where they do not, and the student is surer than `sure` of a class, it is told that class, for the check alone.
    """

    threshold: float
    check: float
    deviation: float
    sure: float = 0.9


Aggregator = Laplace | Gaussian | Confident | Interactive


@dataclass(frozen=True)
class Answers:
    """What the student is told.

    Attributes:
        labels: int64 `[Q]`; -1 where it is told nothing.
        voted: bool `[Q]`: a noisy maximum was taken.
        checked: bool `[Q]`: a check was made.
    """

    labels: Tensor
    voted: Tensor
    checked: Tensor


def histogram(votes: Tensor, classes: int) -> Tensor:
    """Labels `[teachers, Q]` to counts `[Q, K]`, int64."""
    return torch.nn.functional.one_hot(votes, classes).sum(0)


def ask(
    aggregator: Aggregator,
    counts: Tensor,
    predictions: Tensor | None = None,
    *,
    insecure_seed: int | None = None,
) -> Answers:
    """Ask about Q inputs.

    Args:
        aggregator: and its noise.
        counts: votes, `[Q, K]`.
        predictions: the student's probabilities, `[Q, K]`, made without these answers; for `Interactive`.
        insecure_seed: repeats the noise, **for tests and benches**.

    Raises:
        PolicyError: noise is not above 0.
        DataError: counts are no votes, or there are no predictions where they are needed.
    """
    _must_be_noisy(aggregator)
    if counts.ndim != 2 or counts.shape[1] < 2 or int(counts.min()) < 0:
        raise DataError(f"votes are {list(counts.shape)}", remedy="give counts [inputs, classes]")
    random = random_of(insecure_seed)
    asked = torch.zeros(len(counts), dtype=torch.bool)
    labels = torch.full((len(counts),), -1)
    if isinstance(aggregator, Laplace | Gaussian):
        voted = ~asked
    else:
        over = compared(aggregator, counts, predictions).round()
        voted = over + random.gaussians(len(counts)) * aggregator.check >= aggregator.threshold
        asked = ~asked
        if isinstance(aggregator, Interactive) and predictions is not None:
            surest = predictions.max(1)
            labels = torch.where(~voted & (surest.values > aggregator.sure), surest.indices, labels)
    noise = _laplace(counts.shape, random) if isinstance(aggregator, Laplace) else _gaussian(counts.shape, random)
    scale = aggregator.scale if isinstance(aggregator, Laplace) else aggregator.deviation
    told = (counts + noise * scale).argmax(1)
    return Answers(torch.where(voted, told, labels), voted, asked)


def compared(aggregator: Confident | Interactive, counts: Tensor, predictions: Tensor | None) -> Tensor:
    """What is held against the threshold, `[Q]`, before it is rounded and noised: one vote moves it by one at most."""
    if isinstance(aggregator, Confident):
        return counts.max(1).values.double()
    if predictions is None or predictions.shape != counts.shape:
        raise DataError("the interactive aggregator has no predictions", remedy="give the student's probabilities")
    return (counts - counts.sum(1, keepdim=True) * predictions.double()).max(1).values


def _gaussian(shape: torch.Size, random: PrivateRandom) -> Tensor:
    return random.gaussians(shape.numel()).view(shape)


def _laplace(shape: torch.Size, random: PrivateRandom) -> Tensor:
    """Scale 1: half the difference of two sums of two squared Gaussians, each of which is exponential."""
    squares = random.gaussians(4 * shape.numel()).square().view(4, *shape)
    return (squares[0] + squares[1] - squares[2] - squares[3]) / 2


def _must_be_noisy(aggregator: Aggregator) -> None:
    scales = [getattr(aggregator, name) for name in ("scale", "check", "deviation") if hasattr(aggregator, name)]
    if not all(0 < scale < float("inf") for scale in scales):
        raise PolicyError("noise must be above 0", remedy="without noise there is no privacy")
