"""The verdicts as a table for a terminal."""

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from redoubt.records import Evidence, RequirementEvidence, Verdict
from redoubt.report.words import judged, measure_name, one_line, percent

_LOOK = {
    Verdict.VIOLATED: ("✗", "bold red"),
    Verdict.WITHSTOOD: ("■", "bold blue"),
    Verdict.UNDECIDED: ("?", "bold yellow"),
}
_WHY = 160


def verdict_table(evidence: Evidence) -> Table:
    """One row per requirement: what is required, what was measured, the verdict and why.

    Names from the evidence are shown as text: neither markup nor control characters in them take effect.
    """
    table = Table(box=SIMPLE_HEAD, title=Text(one_line(evidence.system)), title_justify="left", pad_edge=False)
    table.add_column("requirement", style="bold", no_wrap=True)
    table.add_column("against", overflow="fold")
    table.add_column("measured", no_wrap=True)
    table.add_column("required", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("why", overflow="fold", ratio=1)
    for requirement in evidence.requirements:
        sign, style = _LOOK[requirement.verdict]
        table.add_row(
            Text(one_line(requirement.id)),
            Text(f"{one_line(requirement.adversary)}\n{one_line(requirement.within)}"),
            Text(_measured(requirement)),
            Text(_required(requirement)),
            Text(f"{sign} {requirement.verdict.value}", style),
            Text(_short(requirement.reason)),
        )
    return table


def _measured(requirement: RequirementEvidence) -> str:
    measured = judged(requirement)
    name = measure_name(requirement.bound.measure)
    if measured is None:
        return f"{name}\nnot measured"
    interval = measured.interval
    return f"{name}\n{percent(measured.value)} [{interval.low * 100:.1f}, {interval.high * 100:.1f}]"


def _required(requirement: RequirementEvidence) -> str:
    bound = requirement.bound
    return f"{'≥' if bound.sense == '>=' else '≤'} {round(bound.value * 100, 6):g}\u00a0%"


def _short(reason: str) -> str:
    """The first sentence, or as much of it as a cell bears."""
    first = one_line(reason).split(". ")[0].rstrip(".")
    return first if len(first) <= _WHY else first[: _WHY - 1] + "…"
