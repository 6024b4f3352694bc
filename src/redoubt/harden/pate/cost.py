"""What answers cost, by part, at one Renyi order that was fixed before the votes were looked at.

As in Papernot et al. 2018, what counts is what was done: a check for each input that was checked, a vote for each
answer.  The costs depend on the votes, and so are secrets themselves; `release` publishes them with noise, for a price.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from redoubt.bounds.privacy.events import EVERYONE, DataDependent
from redoubt.bounds.privacy.pate import (
    laplace_max,
    log_passes,
    log_q_gaussian,
    log_q_laplace,
    noisy_max,
    threshold_check,
)
from redoubt.bounds.privacy.smooth import (
    check_sensitivity,
    must_be_smooth,
    release_cost,
    smoothed,
    vote_sensitivity,
)
from redoubt.harden.pate.aggregate import Aggregator, Answers, Gaussian, Laplace, compared
from redoubt.harden.private.randomness import random_of
from redoubt.records import PolicyError


@dataclass(frozen=True)
class Cost:
    """Renyi divergences at `order`, for each of Q inputs; secrets.

    Attributes:
        order: above 1.
        checks: float64 `[Q]`; 0 where nothing was checked.
        votes: float64 `[Q]`; 0 where nothing was voted on.
    """

    order: float
    checks: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    votes: "np.ndarray[tuple[int], np.dtype[np.float64]]"

    def events(self, on: str = EVERYONE) -> tuple[DataDependent, ...]:
        """For a ledger that **must not be published**: the costs as they are."""
        parts = (("threshold-check", self.checks), ("noisy-max", self.votes))
        return tuple(
            DataDependent(part=name, order=self.order, cost=float(costs.sum()), times=int((costs > 0).sum()), on=on)
            for name, costs in parts
            if costs.any()
        )


@dataclass(frozen=True)
class Released:
    """What may be published.

    Attributes:
        events: for the ledger: checks and votes, as one upper bound that holds but for chance, and the release.
        cost: the noised sum itself.
        deviation: of its noise.
    """

    events: tuple[DataDependent, ...]
    cost: float
    deviation: float


def cost_of(
    aggregator: Aggregator, counts: Tensor, answers: Answers, order: float, predictions: Tensor | None = None
) -> Cost:
    """The costs of these answers; arguments as in `ask`."""
    checks, votes = np.zeros(len(counts)), np.zeros(len(counts))
    against = None if isinstance(aggregator, Laplace | Gaussian) else compared(aggregator, counts, predictions).numpy()
    kept: dict[tuple[int, ...], float] = {}
    for at, row in enumerate(counts.tolist()):
        if bool(answers.voted[at]):
            key = tuple(sorted(row))
            if key not in kept:
                kept[key] = _vote_cost(aggregator, row, order)
            votes[at] = kept[key]
        if against is not None and not isinstance(aggregator, Laplace | Gaussian) and bool(answers.checked[at]):
            passes = log_passes(float(against[at]), aggregator.threshold, aggregator.check)
            checks[at] = threshold_check(passes, aggregator.check, order)
    return Cost(order, checks, votes)


def release(
    cost: Cost,
    aggregator: Aggregator,
    counts: Tensor,
    answers: Answers,
    *,
    beta: float,
    noise: float,
    predictions: Tensor | None = None,
    on: str = EVERYONE,
    insecure_seed: int | None = None,
) -> Released:
    """The sum of the costs, with noise of `noise` times its smooth sensitivity (Papernot et al. 2018, appendix B).

    What is entered into the ledger is the noised sum and two deviations more: too little with probability 2.3 %, as the
    noise falls; the sum alone would be too little every other time.

    Args:
        cost: of these answers.
        aggregator: who gave them.
        counts: votes `[Q, K]`.
        answers: what was told.
        beta: how fast votes that are further away lose weight; below 1 / (2 order).  Fixed beforehand, as is `noise`.
        noise: in smooth sensitivities.
        predictions: as in `ask`.
        on: the group of records that taught the teachers.
        insecure_seed: repeats the noise, **for tests and benches**.

    Raises:
        PolicyError: the aggregator's noise is Laplace's, whose sensitivity nobody here knows; or as `release_cost`.
    """
    if isinstance(aggregator, Laplace):
        raise PolicyError("the cost of Laplace votes is not released here", remedy="use Gaussian noise")
    price = release_cost(beta, noise, cost.order)
    teachers, classes = int(counts[0].sum()), counts.shape[1]
    must_be_smooth(aggregator.deviation, classes, cost.order)
    against = None if isinstance(aggregator, Gaussian) else compared(aggregator, counts, predictions).numpy()
    total = np.zeros(teachers)
    for at, row in enumerate(counts.tolist()):
        if bool(answers.voted[at]):
            total += vote_sensitivity(row, teachers, aggregator.deviation, cost.order)
        if against is not None and not isinstance(aggregator, Gaussian) and bool(answers.checked[at]):
            count = float(against[at])
            total += check_sensitivity(count, teachers, aggregator.threshold, aggregator.check, cost.order)
    deviation = noise * smoothed(total, beta)
    drawn = float(random_of(insecure_seed).gaussians(1)[0])
    noised = max(0.0, float(cost.checks.sum() + cost.votes.sum()) + deviation * drawn)
    asked = int((answers.checked | answers.voted).sum())
    return Released(
        events=(
            DataDependent(
                part="answers", order=cost.order, cost=noised + 2 * deviation, times=asked, released=True, on=on
            ),
            DataDependent(part="release", order=cost.order, cost=price, times=1, released=True, on=on),
        ),
        cost=noised,
        deviation=deviation,
    )


def _vote_cost(aggregator: Aggregator, row: Sequence[int], order: float) -> float:
    if isinstance(aggregator, Laplace):
        return laplace_max(log_q_laplace(row, aggregator.scale), aggregator.scale, order)
    return noisy_max(log_q_gaussian(row, aggregator.deviation), aggregator.deviation, order)
