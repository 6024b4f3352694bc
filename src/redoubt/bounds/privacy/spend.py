"""What the members of each group have spent, event by event, and what that lets an adversary learn."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from redoubt.bounds.privacy.accountants import AccountantName, Curve, curve, lower_epsilon, renyi_accountant
from redoubt.bounds.privacy.events import EVERYONE, FREE, RENYI_ONLY, Event, PublicTraining
from redoubt.bounds.privacy.ledger import PrivacyLedger
from redoubt.bounds.privacy.mechanisms import gaussian_of, merged
from redoubt.records import PolicyError

FALSE_ALARMS = (0.001, 0.01)
"""The false-positive rates for which an adversary's success is bounded."""


@dataclass(frozen=True)
class Share:
    """One event's part in a sum.

    Attributes:
        event: what was done.
        alone: the epsilon that it would cost by itself.
        share: its part of the whole, in 0..1; parts sum to 1.  By the Renyi divergence at the order that decides,
            where costs add up; epsilons do not.
    """

    event: Event
    alone: float
    share: float


@dataclass(frozen=True)
class Spend:
    """What was spent on a record of one group.

    Attributes:
        group: its name.
        epsilon: the guarantee at `delta`, by the accountant `by`.
        delta: as asked.
        by: the tightest accountant that knows all these events.
        cross_checks: other accountants' epsilons, where they know all these events.
        lower: no accountant may say less than this; None where none is known.
        advantage: the most by which a test for membership can be right more often on members than wrong on others,
            whatever it knows about the other records.
        found: false-positive rate to the most members that such a test can find, as a share.
        posterior: what a prior of one half can become at most, except with probability delta, whichever is the truth.
        shares: by event.
        unaccounted: declared searches: the figures do not hold for whoever learns from their choice.
        public: trainings on public data: the figures hold only if no private record was among it.
        partial: whether the ledger has other groups, for whose records this may be too little.
    """

    group: str
    epsilon: float
    delta: float
    by: AccountantName
    cross_checks: dict[AccountantName, float]
    lower: float | None
    advantage: float
    found: dict[float, float]
    posterior: float
    shares: tuple[Share, ...]
    unaccounted: tuple[Event, ...]
    public: tuple[PublicTraining, ...]
    partial: bool


def spend(ledger: PrivacyLedger, delta: float, group: str = EVERYONE) -> Spend:
    """What the ledger's events cost a record of the group.

    Raises:
        PolicyError: delta is not in (0, 1), dp-accounting is not installed, or nobody knows an event's cost.
        KeyError: there is no such group.
    """
    if not 0 < delta < 1:
        raise PolicyError(f"delta is {delta!r}", remedy="give a delta between 0 and 1, far below 1 over the records")
    events = ledger.touching(group)
    counted = [event for event in events if not isinstance(event, FREE)]
    by = tightest(counted)
    with quiet():
        whole = curve(counted, by)
        epsilon = whole.epsilon(delta)
        checks: dict[AccountantName, float] = {}
        if counted and by == "pld":
            checks["rdp"] = curve(counted, "rdp").epsilon(delta)
            if all(gaussian_of(event) for event in counted):
                checks["prv"] = curve(counted, "prv").epsilon(delta)
        return Spend(
            group=group,
            epsilon=epsilon,
            delta=delta,
            by=by,
            cross_checks=checks,
            lower=lower_epsilon(counted, delta) if by == "pld" else None,
            advantage=_advantage(whole, epsilon, delta),
            found={rate: _found(whole, rate) for rate in FALSE_ALARMS},
            posterior=1 / (1 + math.exp(-_log_odds(whole, delta))),
            shares=_shares(counted, delta),
            public=tuple(event for event in events if isinstance(event, PublicTraining)),
            unaccounted=tuple(event for event in events if event.kind == "declared-search"),
            partial=group == EVERYONE and bool(set(ledger.groups) - {EVERYONE}),
        )


def must_be_within(ledger: PrivacyLedger) -> None:
    """Refuse a ledger whose events cost a group more than its budget.

    Ask with what is planned added, before it is done.

    Raises:
        PolicyError: naming the group, what it would have spent, and its budget.
    """
    for name, group in ledger.groups.items():
        if group.budget is None:
            continue
        events = ledger.touching(name)
        with quiet():
            spent = curve(events, tightest(events)).epsilon(group.budget.delta)
        if spent > group.budget.epsilon:
            raise PolicyError(
                f"records of '{name}' would have spent epsilon {spent:.4g} at delta {group.budget.delta:g}; "
                f"their budget is {group.budget.epsilon:g}",
                remedy="add noise, do less, or leave these records out",
            )


def tightest(events: Sequence[Event]) -> AccountantName:
    """The accountant with the least epsilon of those that know all these events."""
    return "rdp" if any(isinstance(event, RENYI_ONLY) for event in events) else "pld"


def _advantage(whole: Curve, epsilon: float, delta: float) -> float:
    """The total variation distance; from one (epsilon, delta) if that says more (Humphries et al. 2020)."""
    at_delta = (math.expm1(min(epsilon, 700.0)) + 2 * delta) / (math.exp(min(epsilon, 700.0)) + 1)
    return min(1.0, float(whole.deltas(np.zeros(1))[0]), at_delta)


def _found(whole: Curve, false_alarms: float) -> float:
    """The most true positives at this rate of false ones: `min over epsilon of e^epsilon FPR + delta(epsilon)`.

    (Kairouz et al. 2015, theorem 2.1)
    """
    tried = np.concatenate([np.linspace(0, 2, 41), np.linspace(2.1, 12, 100)])
    return float((np.exp(tried) * false_alarms + whole.deltas(tried)).min(initial=1.0))


def _log_odds(whole: Curve, delta: float) -> float:
    """The least `t` with `P(privacy loss > t) <= delta`, from above.

    Not epsilon itself: with probability delta, an (epsilon, delta) guarantee may be missed by a little often, or by
    much rarely.  For any epsilon below t, `P(loss > t) <= delta(epsilon) / (1 - e^(epsilon - t))`.
    """
    top = whole.epsilon(delta / 100)
    if not math.isfinite(top):
        return math.inf
    tried = np.linspace(0, top + 1e-6, 300)
    deltas = whole.deltas(tried)
    low, high = whole.epsilon(delta), 2 * top + 1

    def beyond(t: float) -> float:
        below = tried < t
        return float((deltas[below] / -np.expm1(tried[below] - t)).min(initial=1.0))

    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) <= delta else (middle, high)
    return high


def _shares(counted: Sequence[Event], delta: float) -> tuple[Share, ...]:
    if not counted:
        return ()
    _, order = renyi_accountant(counted).get_epsilon_and_optimal_order(delta)
    costs = []
    for event in counted:
        alone = renyi_accountant([event])
        costs.append(float(alone._rdp[list(alone._orders).index(order)]))  # no public way to a single order's cost
    total = sum(costs)
    own: dict[tuple[Event, ...], float] = {}
    shares = []
    for event, cost in zip(counted, costs, strict=True):
        key = merged([event])
        if key not in own:
            own[key] = curve([event], tightest([event])).epsilon(delta)
        shares.append(Share(event, own[key], cost / total if total > 0 else 1 / len(costs)))
    return tuple(shares)


@contextmanager
def quiet() -> Iterator[None]:
    """Dp-accounting tells its log of each Renyi order that it leaves out, which it may."""
    log = logging.getLogger("absl")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
