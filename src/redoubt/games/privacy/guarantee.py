"""From what an accountant and an audit say of a guarantee to a verdict and its reason."""

from dataclasses import dataclass

from redoubt.records import Bound, Verdict
from redoubt.records.privacy import PrivacyAudit


@dataclass(frozen=True)
class Accounted:
    """What accountants make of a ledger, for one group at one delta.

    Attributes:
        events: how many events looked at the group's records.
        upper: the epsilon that the tightest accountant vouches for.
        checks: other accountants' epsilons, upper bounds too.
        lower: no accountant may say less; None where no such figure is known.
        searched: settings among which some were chosen by the records, and not counted.
        secret: whether the cost itself depends on the records and was not released with noise.
    """

    events: int
    upper: float
    checks: tuple[float, ...]
    lower: float | None
    searched: int
    secret: bool


def conclude_guarantee(bound: Bound, found: Accounted, audit: PrivacyAudit | None) -> tuple[Verdict, str]:
    """The verdict on `epsilon <= value at delta`, and why, in plain sentences.

    VIOLATED if an audit's lower bound lies above the required epsilon: whoever guessed so well is in hand.
    PROVED if the accountants' upper bound keeps it, nothing stands against the ledger, and all was counted.
    UNDECIDED otherwise.  An upper bound above the required epsilon is no violation: it says how much the mechanism
    could give away at worst, not that this training does.
    """
    required = f"the policy requires at most {bound.value:g} at delta {bound.delta:g}"
    if audit is not None and audit.epsilon_lower_bound > bound.value:
        return Verdict.VIOLATED, (
            f"An audit found that epsilon is at least {audit.epsilon_lower_bound:.3g} at delta {audit.claim.delta:g}, "
            f"with confidence {(1 + audit.level) / 2:.1%}; {required}."
        )
    if not found.events:
        return Verdict.UNDECIDED, (
            "No event in the ledger looked at these records. A training that wrote nothing down proves nothing; "
            f"{required}."
        )
    if audit is not None and audit.verdict is Verdict.VIOLATED:
        return Verdict.UNDECIDED, (
            f"An audit refutes the ledger: {audit.reason} So its sum, epsilon {found.upper:.3g}, proves nothing; "
            f"{required}."
        )
    least = min([found.upper, *found.checks])
    if found.lower is not None and least < found.lower * (1 - 1e-6):
        return Verdict.UNDECIDED, (
            f"The accountants contradict each other: one says {least:.4g}, and less than "
            f"{found.lower:.4g} cannot be true of these events. Please report this."
        )
    figure = f"All that stands in the ledger has epsilon {found.upper:.4g} at delta {bound.delta:g}"
    if found.upper > bound.value:
        hopeless = (
            f"Less than {found.lower:.4g} cannot be shown of these events by any accountant: "
            if found.lower is not None and found.lower > bound.value
            else ""
        )
        return Verdict.UNDECIDED, (
            f"{figure}; {required}. That is an upper bound, and no leak in hand. {hopeless}Train with more noise, "
            "fewer steps or smaller samples."
        )
    if found.searched:
        return Verdict.UNDECIDED, (
            f"{figure}, which keeps the bound, but settings were chosen among {found.searched} by looking at these "
            f"records, and that is not counted; {required}. Account for the search, or search on public records."
        )
    if found.secret:
        return Verdict.UNDECIDED, (
            f"{figure}, which keeps the bound, but the figure itself depends on the records and was not released with "
            f"noise, so it holds for these records and not for all there could be; {required}. Release its cost."
        )
    audited = " An audit found nothing against it." if audit is not None else ""
    return Verdict.PROVED, (
        f"{figure}; {required}. That covers every strategy, of whoever knows all other records and all that was "
        f"released, given that the training did what its ledger says.{audited}"
    )
