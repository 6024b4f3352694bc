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
_FINEST = 1e-5
_DRIFT = 0.03  # what rounding down may take off the lower estimate in all its steps together, likewise
_USUAL = 10.0
_PRV_SHARE = 0.002  # error allowed to the PRV accountant, as a share of epsilon


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
    return float(_loss(counted, optimistic=True).get_epsilon_for_delta(delta)) if counted else 0.0


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


def _loss(counted: Sequence[Event], *, optimistic: bool) -> "PrivacyLossDistribution":
    with needs_privacy():
        from dp_accounting.pld import privacy_loss_distribution as pld
    steps = sum(1 if drawn is None else drawn[2] for drawn in map(gaussian_of, counted))
    # Connect-the-dots needs no finer grid for more steps; rounding down loses half a cell in each.
    # Both estimates hold on any grid; where much is spent, a coarser one costs the same share, and far less time.
    wider = max(1.0, _rough(counted) / _USUAL)
    grid = wider * (min(_GRID, max(_FINEST, _DRIFT / steps)) if optimistic else _GRID)
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


def _rough(counted: Sequence[Event]) -> float:
    """About the loss that is passed once in a million times: says how fine a grid need be, and nothing else."""
    mean = 0.0
    for event in counted:
        drawn = gaussian_of(event)
        if drawn is not None:
            rate, noise, count = drawn
            mean += count * min(rate**2 * math.expm1(min(noise**-2, 50.0)), rate / noise**2) / 2
        elif isinstance(event, LaplaceRelease):
            mean += event.times * min(event.noise_multiplier**-2, 1 / event.noise_multiplier)
    return mean + math.sqrt(4 * mean * math.log(1e6))


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
        # Its error is absolute; a first look says how small it must be.
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # about log(0) at rate 1, which its formulas allow for
            rough = float(accountant.get_epsilon(delta, eps_error=max(0.05, _rough(counted) / 100)))
            if not math.isfinite(rough):  # its floats end somewhere above 1,000
                return rough
            return float(accountant.get_epsilon(delta, eps_error=max(1e-4, _PRV_SHARE * rough)))

    return at


def _no_delta(_epsilons: Floats) -> Floats:
    raise PolicyError("the accountant 'prv' answers for epsilon only", remedy="ask 'pld' or 'rdp' for a delta")
