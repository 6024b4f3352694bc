"""Events as dp-accounting understands them."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from redoubt.bounds.privacy.events import (
    FREE,
    RENYI_ONLY,
    AccountedSearch,
    Event,
    GaussianRelease,
    LaplaceRelease,
    NoisyMax,
    PoissonGaussian,
    ThresholdCheck,
)
from redoubt.bounds.privacy.extra import needs_privacy
from redoubt.records import PolicyError

if TYPE_CHECKING:
    from dp_accounting import DpEvent

_VOTE = math.sqrt(2)  # L2 sensitivity of a histogram of votes to one vote that moves


def merged(events: Sequence[Event]) -> tuple[Event, ...]:
    """The same mechanisms, those that differ in their number and their words only counted together.

    Free events are left out.  The order does not matter to composition, and is that of first appearance.
    """
    counts: Counter[Event] = Counter()
    for event in events:
        if isinstance(event, FREE):
            continue
        plain = event.model_copy(update={"what": "", "on": "everyone"})
        if isinstance(plain, PoissonGaussian):
            counts[plain.model_copy(update={"steps": 1})] += plain.steps
        elif isinstance(plain, GaussianRelease | LaplaceRelease | ThresholdCheck | NoisyMax):
            counts[plain.model_copy(update={"times": 1})] += plain.times
        else:
            counts[plain] += 1
    return tuple(event for one, count in counts.items() for event in _repeated(one, count))


def _repeated(event: Event, count: int) -> tuple[Event, ...]:
    if isinstance(event, RENYI_ONLY):
        return (event,) * count
    return (event.model_copy(update={"steps" if isinstance(event, PoissonGaussian) else "times": count}),)


def gaussian_of(event: Event) -> tuple[float, float, int] | None:
    """Sampling rate, noise multiplier and number, where the event is Gaussian noise on a sum; None where it is not."""
    match event:
        case PoissonGaussian():
            return event.rate, event.noise_multiplier, event.steps
        case GaussianRelease() | ThresholdCheck():
            return 1.0, event.noise_multiplier, event.times
        case NoisyMax():
            return 1.0, event.deviation / _VOTE, event.times
        case _:
            return None


def to_dp_event(events: Sequence[Event]) -> "DpEvent":
    """The composition of the events.

    Raises:
        PolicyError: an event is of a kind that nobody here knows, or dp-accounting is not installed.
    """
    with needs_privacy():
        import dp_accounting
    return dp_accounting.ComposedDpEvent([_one(event) for event in events])


def _one(event: Event) -> "DpEvent":
    import dp_accounting as dp
    from dp_accounting.dp_event import RepeatAndSelectDpEvent

    gaussian = gaussian_of(event)
    if gaussian is not None:
        rate, noise, count = gaussian
        once = dp.GaussianDpEvent(noise)
        return dp.SelfComposedDpEvent(once if rate == 1 else dp.PoissonSampledDpEvent(rate, once), count)
    match event:
        case LaplaceRelease():
            return dp.SelfComposedDpEvent(dp.LaplaceDpEvent(event.noise_multiplier), event.times)
        case AccountedSearch():
            return RepeatAndSelectDpEvent(to_dp_event(event.run), event.mean, event.shape)
        case _ if isinstance(event, FREE):
            return dp.NoOpDpEvent()
        case _:
            raise unknown(event, "no accountant")


def unknown(event: object, who: str) -> PolicyError:
    """The refusal of an event by name."""
    name = getattr(event, "kind", type(event).__name__)
    return PolicyError(
        f"{who} knows what the event '{name}' costs",
        remedy="an event that cannot be counted may have cost anything; use another accountant or another mechanism",
    )
