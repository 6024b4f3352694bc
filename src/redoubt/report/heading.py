"""What the section of every game begins with."""

from dataclasses import dataclass
from typing import Any

from redoubt.records import RequirementEvidence
from redoubt.report import charts, words


@dataclass(frozen=True)
class Heading:
    """The fields that `report.html.j2` prints of every section.

    A game's own section adds its fields, and a `template` that is included below and is shown the section as `s`.
    """

    anchor: str
    evidence: Any
    demand: str
    reason: str
    measured: str
    where: str
    bar: str


def heading(requirement: RequirementEvidence, anchor: str, demand: str, where: str) -> dict[str, Any]:
    """The fields of a `Heading`, to be given to a section with its own.

    Args:
        requirement: the evidence.
        anchor: of the section within the page.
        demand: what the requirement asks, in one sentence.
        where: where the adversary may move, or what it is shown, in a few words.
    """
    measured = words.judged(requirement)
    return {
        "anchor": anchor,
        "evidence": requirement,
        "demand": demand,
        "reason": words.reason(requirement),
        "measured": words.measured_words(measured) if measured else "not measured",
        "where": where,
        "bar": charts.bar(requirement, f"{anchor}-bar"),
    }
