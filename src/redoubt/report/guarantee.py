"""The section of a privacy requirement: what was spent on what, by which accountant, and what an audit found."""

from dataclasses import dataclass

from redoubt.records import PrivacyEvidence
from redoubt.report import words
from redoubt.report.heading import Heading, heading
from redoubt.report.read import Folder


@dataclass(frozen=True)
class _Part:
    what: str
    on: str
    share: str
    width: float
    alone: str


@dataclass(frozen=True)
class GuaranteeSection(Heading):
    """One requirement, ready to print."""

    said: list[str]
    parts: list[_Part]
    audit: str
    template: str = "guarantee.html.j2"


def guarantee_section(_: Folder, requirement: PrivacyEvidence, anchor: str) -> GuaranteeSection:
    """Make it from the evidence."""
    return GuaranteeSection(
        **heading(requirement, anchor, demand_of_guarantee(requirement), records_meant(requirement)),
        said=[words.one_line(line) for line in requirement.said],
        parts=[
            _Part(
                what=words.one_line(part.what),
                on=words.one_line(part.on),
                share=words.percent(part.share),
                width=round(100 * part.share, 1),
                alone=f"{part.alone:.3g}",
            )
            for part in requirement.parts
        ],
        audit=_audit(requirement),
    )


def demand_of_guarantee(requirement: PrivacyEvidence) -> str:
    """What the requirement asks, in one sentence."""
    bound = requirement.bound
    return (
        f"For {records_meant(requirement)}, all that the training released must be ({bound.value:g}, {bound.delta:g})"
        "-differentially private."
    )


def records_meant(requirement: PrivacyEvidence) -> str:
    """Whose records the guarantee is about."""
    group = words.one_line(requirement.group)
    return "every record" if group == "everyone" else f"every record of the group {group}"


def work_on_guarantee(requirement: PrivacyEvidence) -> str:
    """What was done to find out, in one sentence."""
    if requirement.audit is None:
        return "Nothing was attacked: the ledger was added up, and the training was not audited."
    runs = requirement.audit.runs
    return (
        f"The ledger was added up, and held against an audit of {words.count(requirement.audit.canaries)} canaries in "
        f"{words.count(runs)} training{'' if runs == 1 else 's'}."
    )


def _audit(requirement: PrivacyEvidence) -> str:
    audit = requirement.audit
    if audit is None:
        return (
            "The training was not audited: that it did what its ledger says is taken on trust. redoubt privacy audit "
            "plants canaries and looks."
        )
    return (
        f"An audit ({words.one_line(audit.method)}, {words.count(audit.canaries)} canaries, "
        f"{words.one_line(requirement.audit_file or '')}) found epsilon to be at least "
        f"{audit.epsilon_lower_bound:.3g} at delta {audit.claim.delta:g}: {words.one_line(audit.reason)}"
    )
