"""What events cost together: three accountants that know nothing of each other.

| accountant | through | covers | epsilon |
|---|---|---|---|
| `pld` | dp-accounting | Gaussian and Laplace noise, Poisson sampling | an upper bound, tight to the grid of losses |
| `rdp` | dp-accounting | the same, accounted searches, and votes by how they fell | an upper bound, looser |
| `prv` | opacus | Gaussian noise, Poisson sampling | an upper bound, tight; the cross-check |

Sources: privacy loss distributions, Doroshenko et al. 2022 (connect the dots); Renyi, Mironov 2017 and Mironov et al.
2019; privacy random variables, Gopi et al. 2021.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from redoubt.bounds.privacy.events import DataDependent, Event, LaplaceRelease
from redoubt.bounds.privacy.extra import needs_privacy
from redoubt.bounds.privacy.mechanisms import gaussian_of, merged, to_dp_event, unknown
from redoubt.records import PolicyError

if TYPE_CHECKING:
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution
    from dp_accounting.rdp import RdpAccountant

Floats = NDArray[np.float64]
AccountantName = Literal["pld", "rdp", "prv"]
_GRID = 1e-4  # width of a cell of privacy loss, where all loss together is around 10 or less
_USUAL = 10.0
_CELL, _FINEST = 0.1, 0.004  # widths in deviations of the loss of one step: at most, and at least
_DRIFT = 0.02  # twice the share of all loss that rounding down may take off the lower estimate in all steps together
_PRV_SHARE = 0.002  # error allowed to the PRV accountant, as a share of epsilon
_PRV_LEAST = 5e-6  # and never less than this times the root of the steps


@dataclass(frozen=True)
class Curve:
    """All (epsilon, delta) guarantees of some events at once.

    Attributes:
        epsilon: delta in 0..1 to the smallest epsilon that holds with it; infinite where none does.
        deltas: epsilons >= 0, ascending, each to the smallest delta that holds with it.
        by: the accountant.
    """

    epsilon: Callable[[float], float]
    deltas: Callable[[Floats], Floats]
    by: AccountantName


def curve(events: Sequence[Event], by: AccountantName = "pld") -> Curve:
    """The guarantees of the events' composition.

    Raises:
        PolicyError: an event that this accountant does not know, or its library is not installed.
    """
    counted = merged(events)
    if not counted:
        return Curve(lambda _delta: 0.0, np.zeros_like, by)
    if by == "pld":
        loss = _loss(counted, optimistic=False)
        return Curve(lambda delta: float(loss.get_epsilon_for_delta(delta)), _deltas_of(loss), by)
    if by == "rdp":
        renyi = renyi_accountant(counted)
        return Curve(
            lambda delta: float(renyi.get_epsilon(delta)),
            lambda epsilons: np.array([renyi.get_delta(float(epsilon)) for epsilon in epsilons]),
            by,
        )
    return Curve(_prv(counted), _no_delta, by)


def epsilon(events: Sequence[Event], delta: float, by: AccountantName = "pld") -> float:
    """The smallest epsilon for which the accountant vouches, at this delta.

    >>> from redoubt.bounds.privacy.events import GaussianRelease
    >>> round(epsilon([GaussianRelease(noise_multiplier=4.0)], 1e-5), 2)
    0.93

    Raises:
        PolicyError: delta is not between 0 and 1; else as `curve`.
    """
    _check_delta(delta)
    return curve(events, by).epsilon(delta)


def lower_epsilon(events: Sequence[Event], delta: float) -> float:
    """An epsilon below which the composition is *not* private: all losses rounded down.

    An accountant that says less than this is wrong.

    Raises:
        PolicyError: as `epsilon` by `pld`.
    """
    _check_delta(delta)
    counted = merged(events)
    if not counted:
        return 0.0
    # None of these mechanisms has an infinite loss; where one comes out, floats ran out on so many cells.
    wider = (_loss(counted, optimistic=True, wider=times).get_epsilon_for_delta(delta) for times in (1.0, 6.0, 36.0))
    return next((float(found) for found in wider if math.isfinite(found)), 0.0)


def renyi_accountant(events: Sequence[Event]) -> "RdpAccountant":
    """Dp-accounting's Renyi accountant after these events.

    Raises:
        PolicyError: an event that it does not know, or dp-accounting is not installed.
    """
    with needs_privacy():
        from dp_accounting.rdp import RdpAccountant
    accountant = RdpAccountant()
    counted = merged(events)
    accountant.compose(to_dp_event([event for event in counted if not isinstance(event, DataDependent)]))
    for event in counted:
        if isinstance(event, DataDependent):  # which dp-accounting has no event for; divergences rise with the order
            accountant._rdp = accountant._rdp + np.where(
                np.array(accountant._orders) <= event.order, event.cost, np.inf
            )
    return accountant


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise PolicyError(f"delta is {delta!r}", remedy="give a delta between 0 and 1, far below 1 over the records")


def _loss(counted: Sequence[Event], *, optimistic: bool, wider: float = 1.0) -> "PrivacyLossDistribution":
    with needs_privacy():
        from dp_accounting.pld import privacy_loss_distribution as pld
    grid = wider * _grid(counted, optimistic=optimistic)
    how = {"value_discretization_interval": grid, "pessimistic_estimate": not optimistic}
    whole = pld.identity(value_discretization_interval=grid, pessimistic_estimate=not optimistic)
    for event in counted:
        drawn = gaussian_of(event)
        if drawn is not None:
            rate, noise, count = drawn
            if rate == 1:  # so many Gaussians are one
                part = pld.from_gaussian_mechanism(noise / math.sqrt(count), use_connect_dots=not optimistic, **how)
            else:
                once = pld.from_gaussian_mechanism(noise, sampling_prob=rate, use_connect_dots=not optimistic, **how)
                part = once.self_compose(count)
        elif isinstance(event, LaplaceRelease):
            once = pld.from_laplace_mechanism(event.noise_multiplier, use_connect_dots=not optimistic, **how)
            part = once.self_compose(event.times)
        else:
            raise unknown(event, "the accountant 'pld' does not know, and only 'rdp'")
        whole = whole.compose(part)
    return whole


def _grid(counted: Sequence[Event], *, optimistic: bool) -> float:
    """How wide a cell of loss may be.  Both estimates hold on any grid; this decides how tight they are, and how slow.

    Connecting the dots adds a variance of a quarter of a squared cell to each step, so cells must be narrow beside the
    deviation of a step's loss.  Rounding down takes half a cell off each step, so they must be narrow beside all loss
    over all steps.
    """
    scales = [_scale(event) for event in counted]
    deviation = min(math.sqrt(2 * mean) for mean, _ in scales)
    steps = sum(times for _, times in scales)
    grid = min(_GRID * max(1.0, _rough(counted) / _USUAL), _CELL * deviation)
    return max(_FINEST * deviation, min(grid, _DRIFT * _rough(counted) / steps)) if optimistic else grid


def _rough(counted: Sequence[Event]) -> float:
    """About the loss that is passed once in a million times: says how fine to reckon, and nothing else."""
    mean = sum(times * each for each, times in map(_scale, counted))
    return mean + math.sqrt(4 * mean * math.log(1e6))


def _scale(event: Event) -> tuple[float, int]:
    """About the mean loss of a step, and how many there are; many Gaussians at rate 1 are one."""
    drawn = gaussian_of(event)
    if drawn is not None:
        rate, noise, count = drawn
        if rate == 1:
            return count / noise**2 / 2, 1
        return min(rate**2 * math.expm1(min(noise**-2, 50.0)), rate / noise**2) / 2, count
    noise = getattr(event, "noise_multiplier", 1.0)
    return min(noise**-2, 1 / noise) / 2, getattr(event, "times", 1)


def _deltas_of(loss: "PrivacyLossDistribution") -> Callable[[Floats], Floats]:
    # Rounding in its Fourier transforms may leave a little below 0.
    return lambda epsilons: np.clip(np.asarray(loss.get_delta_for_epsilon(epsilons), dtype=np.float64), 0.0, 1.0)


def _prv(counted: Sequence[Event]) -> Callable[[float], float]:
    with needs_privacy():
        from opacus.accountants import PRVAccountant
    accountant = PRVAccountant()
    for event in counted:
        drawn = gaussian_of(event)
        if drawn is None:
            raise unknown(event, "the accountant 'prv' does not know, and only another")
        rate, noise, count = drawn
        accountant.history.append((noise, rate, count))

    def at(delta: float) -> float:
        # Its error is absolute; a first look says how small it must be.  Its mesh is the error over the root of the
        # steps and spans 6 at least, so that there is an end to what it can tell apart.
        least = _PRV_LEAST * math.sqrt(sum(times for _, times in map(_scale, counted)))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # about log(0) at rate 1, which its formulas allow for
            first = float(accountant.get_epsilon(delta, eps_error=max(least, _rough(counted) / 50)))
            if not math.isfinite(first):  # its floats end somewhere above 1,000
                return first
            return float(accountant.get_epsilon(delta, eps_error=max(least, _PRV_SHARE * first)))

    return at


def _no_delta(_epsilons: Floats) -> Floats:
    raise PolicyError("the accountant 'prv' answers for epsilon only", remedy="ask 'pld' or 'rdp' for a delta")
