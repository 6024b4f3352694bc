"""The section of a backdoor requirement: the trigger, what it does, and how each class fares."""

from dataclasses import dataclass

from redoubt.records import BackdoorEvidence, Evidence, TriggerOutcome
from redoubt.report import words
from redoubt.report.heading import Heading, heading
from redoubt.report.pictures import is_image, picture
from redoubt.report.read import Folder


@dataclass(frozen=True)
class _Class:
    name: str
    strategy: str
    success: str
    pixels: int
    best: bool


@dataclass(frozen=True)
class TriggersSection(Heading):
    """One requirement, ready to print."""

    needs: str
    trigger: str
    wearing: list[str]
    rows: list[_Class]
    target: str
    reach: str
    elapsed: float
    template: str = "triggers.html.j2"


def triggers_section(folder: Folder, requirement: BackdoorEvidence, anchor: str) -> TriggersSection:
    """Make it from the evidence."""
    evidence = folder.evidence
    low, high = evidence.input_range
    drawn = [
        picture(folder.shown[key], low, high)
        for key in requirement.tensors
        if key in folder.shown and is_image(evidence.input_shape)
    ]
    best = requirement.best
    return TriggersSection(
        **heading(requirement, anchor, demand_of_triggers(requirement), trigger_budget(requirement)),
        needs=work_on_triggers(requirement),
        trigger=drawn[0] if drawn else "",
        wearing=drawn[1:],
        rows=_classes(evidence, requirement),
        target=words.class_name(evidence, best.target) if best else "",
        reach="" if requirement.reach is None else words.percent(requirement.reach),
        elapsed=folder.timings.of(requirement.id) if folder.timings else 0.0,
    )


def demand_of_triggers(requirement: BackdoorEvidence) -> str:
    """What the requirement asks, in one sentence."""
    return (
        f"One trigger of at most {words.count(requirement.pixels)} pixels, the same on every input, may send "
        f"{words.bound_words(requirement.bound)} of the inputs of other classes to one class, whatever adversary "
        f"“{words.one_line(requirement.adversary)}” tries."
    )


def trigger_budget(requirement: BackdoorEvidence) -> str:
    """How large a trigger may be."""
    return f"one trigger, {words.one_line(requirement.within)}"


def work_on_triggers(requirement: BackdoorEvidence) -> str:
    """What the adversary spent, in one sentence."""
    work = requirement.work
    return (
        f"The adversary searched with {words.count(requirement.searched)} inputs: {words.count(work.forwards)} forward "
        f"and {words.count(work.backwards)} backward passes for all classes together."
    )


def _classes(evidence: Evidence, requirement: BackdoorEvidence) -> list[_Class]:
    """For each class the trigger that succeeded most on the inputs searched with."""
    found: dict[int, TriggerOutcome] = {}
    for outcome in requirement.outcomes:
        if outcome.target not in found or outcome.searched > found[outcome.target].searched:
            found[outcome.target] = outcome
    return [
        _Class(
            words.class_name(evidence, target),
            words.one_line(outcome.strategy),
            words.measured_words(outcome.held_out),
            outcome.pixels,
            requirement.best is not None and outcome.target == requirement.best.target,
        )
        for target, outcome in sorted(found.items())
    ]
