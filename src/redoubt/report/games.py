"""How the evidence of each game is told: one line for each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from redoubt.records import (
    BackdoorEvidence,
    EvasionEvidence,
    Fault,
    MembershipEvidence,
    MemorisationEvidence,
    PoisoningEvidence,
    PrivacyEvidence,
    RequirementEvidence,
    Verdict,
)
from redoubt.report import words
from redoubt.report.guarantee import demand_of_guarantee, guarantee_section, records_meant, work_on_guarantee
from redoubt.report.heading import Heading
from redoubt.report.members import demand_of_members, members_section, members_shown, work_on_members
from redoubt.report.memorisation import demand_of_memory, memorisation_section, text_meant, work_on_memory
from redoubt.report.moves import demand_of_moves, moves_section, open_proofs, where_moved, work_of_moves
from redoubt.report.poison import demand_of_poison, poison_among, poison_section, work_of_poison
from redoubt.report.read import Folder
from redoubt.report.triggers import demand_of_triggers, trigger_budget, triggers_section, work_on_triggers

Kind: TypeAlias = Any
"""The evidence's own record: each function below takes that of its game."""


@dataclass(frozen=True)
class Telling:
    """How the evidence of one game is told.

    Attributes:
        section: the section of the page, from the folder, the evidence and the section's anchor.
        demand: what the requirement asks, in one sentence.
        where: where the adversary may move, or what it is shown, in a few words.
        work: what the adversary spent, in one or two sentences.
        joint: the word between the adversary and `where`.
        doubt: why an undecided requirement is so, in a few words; None if the signs say it.
    """

    section: Callable[[Folder, Kind, str], Any]
    demand: Callable[[Kind], str]
    where: Callable[[Kind], str]
    work: Callable[[Kind], str]
    joint: str
    doubt: Callable[[Kind], str | None] = lambda _: None


TELLINGS: dict[type[RequirementEvidence], Telling] = {
    EvasionEvidence: Telling(moves_section, demand_of_moves, where_moved, work_of_moves, "within", open_proofs),
    PrivacyEvidence: Telling(
        guarantee_section,
        demand_of_guarantee,
        records_meant,
        work_on_guarantee,
        "for",
        lambda _: "not shown by its ledger",
    ),
    MemorisationEvidence: Telling(memorisation_section, demand_of_memory, text_meant, work_on_memory, "after"),
    MembershipEvidence: Telling(members_section, demand_of_members, members_shown, work_on_members, "among"),
    BackdoorEvidence: Telling(triggers_section, demand_of_triggers, trigger_budget, work_on_triggers, "within"),
    PoisoningEvidence: Telling(poison_section, demand_of_poison, poison_among, work_of_poison, "with"),
}


def telling(requirement: RequirementEvidence) -> Telling:
    """That of the requirement's game.

    Raises:
        Fault: the game is in no line of the table.
    """
    found = TELLINGS.get(type(requirement))
    if found is None:
        raise Fault(f"the report knows no game '{requirement.game}'", remedy="please report this")
    return found


def section(folder: Folder, requirement: RequirementEvidence, anchor: str) -> Heading:
    """One requirement, as its game has it."""
    made: Heading = telling(requirement).section(folder, requirement, anchor)
    return made


def demand(requirement: RequirementEvidence) -> str:
    """What the requirement asks, in one sentence."""
    return telling(requirement).demand(requirement)


def where(requirement: RequirementEvidence) -> str:
    """Where the adversary may move an input, or what it is shown."""
    return telling(requirement).where(requirement)


def work_sentence(requirement: RequirementEvidence) -> str:
    """The work that an attacker needs, in one or two sentences."""
    return telling(requirement).work(requirement)


def short_reason(requirement: RequirementEvidence) -> str:
    """Why this verdict, in a few words."""
    if requirement.verdict is Verdict.UNDECIDED and words.judged(requirement) is not None:
        doubt = telling(requirement).doubt(requirement)
        if doubt is not None:
            return doubt
    return words.short_reason(requirement)
