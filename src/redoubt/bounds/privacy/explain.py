"""What epsilon means, in words: what an adversary who knows everything but one record could still learn of it."""

from collections.abc import Iterator

from redoubt.bounds.privacy.accountants import AccountantName
from redoubt.bounds.privacy.events import (
    EVERYONE,
    AccountedSearch,
    DataDependent,
    DeclaredSearch,
    Event,
    GaussianRelease,
    LaplaceRelease,
    NoisyMax,
    PoissonGaussian,
    PublicSearch,
    PublicTraining,
    ThresholdCheck,
)
from redoubt.bounds.privacy.spend import Spend

_ACCOUNTANTS: dict[AccountantName, str] = {
    "pld": "privacy loss distributions",
    "rdp": "Renyi divergences",
    "prv": "privacy random variables",
}


def explain_spend(spent: Spend) -> tuple[str, ...]:
    """Paragraphs: the guarantee, what it means, how it was counted, and what it does not cover.

    >>> from redoubt.bounds.privacy.ledger import PrivacyLedger
    >>> from redoubt.bounds.privacy.spend import spend
    >>> for line in explain_spend(spend(PrivacyLedger(), 1e-5)):
    ...     print(line)
    Nothing that looked at records of the group 'everyone' stands in this ledger: epsilon is 0.
    """
    return tuple(_paragraphs(spent))


def describe_event(event: Event) -> str:
    """The event in one line."""
    said = f" ({event.what})" if event.what else ""
    match event:
        case PoissonGaussian():
            return f"{event.steps} steps at rate {event.rate:.4g}, noise {event.noise_multiplier:.4g}{said}"
        case GaussianRelease():
            return f"{_times(event.times)}, Gaussian noise {event.noise_multiplier:.4g}{said}"
        case LaplaceRelease():
            return f"{_times(event.times)}, Laplace noise {event.noise_multiplier:.4g}{said}"
        case ThresholdCheck():
            return f"{event.times} checks of a count, noise {event.noise_multiplier:.4g}{said}"
        case NoisyMax():
            return f"{event.times} noisy votes, deviation {event.deviation:.4g}{said}"
        case DataDependent():
            known = "released" if event.released else "secret"
            return f"{event.times} x {event.part}, Renyi {event.cost:.4g} at order {event.order:g}, {known}{said}"
        case AccountedSearch():
            runs = "; ".join(describe_event(each) for each in event.run)
            return f"best of a random number of runs, {event.mean:g} in the mean, each: {runs}{said}"
        case DeclaredSearch() | PublicSearch():
            return f"a search among {event.settings} settings{said}"
        case PublicTraining():
            return f"a training on public data: {event.data}{said}"


def _paragraphs(spent: Spend) -> Iterator[str]:
    if not spent.shares:
        yield f"Nothing that looked at records of the group '{spent.group}' stands in this ledger: epsilon is 0."
    else:
        whose = "every record" if spent.group == EVERYONE else f"every record of the group '{spent.group}'"
        if spent.partial:
            whose += " that is in no other group"
        yield f"For {whose}, all that was released is ({spent.epsilon:.4g}, {spent.delta:g})-differentially private."
        yield (
            "Suppose that somebody knows every other record, everything that was released, and how it was made, and "
            "only wants to know whether one record was among the data. Whatever test they use: "
            f"it is right on members at most {spent.advantage:.1%} more often than it is wrong on others. "
            + " ".join(
                f"If it may be wrong on {rate:.1%} of the others, it finds at most {found:.2%} of the members."
                for rate, found in spent.found.items()
            )
        )
        yield (
            f"If they held it for an even bet before, they are at most {spent.posterior:.1%} sure after, except with "
            f"probability {spent.delta:g}."
        )
        yield _counted(spent)
    if any(isinstance(share.event, DataDependent) and not share.event.released for share in spent.shares):
        yield (
            "Not for publication: what votes cost depends on the records, and was not released with noise. These "
            "figures are true of these records, and themselves give something of them away."
        )
    yield from _search(spent)
    if spent.public:
        named = ", ".join(dict.fromkeys(event.data for event in spent.public))
        yield f"Counted as free: what was learnt from public data ({named}), if none of these records is among it."


def _counted(spent: Spend) -> str:
    lower = f"; less than {spent.lower:.4g} cannot be true" if spent.lower is not None else ""
    checks = ", ".join(f"{_ACCOUNTANTS[by]} {value:.4g}" for by, value in spent.cross_checks.items())
    return f"Counted with {_ACCOUNTANTS[spent.by]}{lower}." + (f" As a check, with {checks}." if checks else "")


def _search(spent: Spend) -> Iterator[str]:
    if spent.unaccounted:
        tried = sum(event.settings for event in spent.unaccounted if isinstance(event, DeclaredSearch))
        yield (
            f"Not counted: hyper-parameters were chosen among {tried} settings by looking at these records. "
            "What the choice itself gives away comes on top of every figure here."
        )


def _times(times: int) -> str:
    return "1 release" if times == 1 else f"{times} releases"
