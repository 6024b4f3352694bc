"""The verdicts as a table for a terminal."""

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from redoubt.records import MEASURES, Evidence, RequirementEvidence, Verdict
from redoubt.report.games import short_reason, where
from redoubt.report.words import amount, bound_amount, judged, measure_name, one_line, percent

_LOOK = {
    Verdict.VIOLATED: ("✗", "bold red"),
    Verdict.WITHSTOOD: ("■", "bold blue"),
    Verdict.PROVED: ("★", "bold blue"),
    Verdict.UNDECIDED: ("?", "bold yellow"),
}


def verdict_table(evidence: Evidence) -> Table:
    """One row per requirement: what is required, what was measured, the verdict and why; fits 80 columns.

    Names from the evidence are shown as text: neither markup nor control characters in them take effect.
    """
    table = Table(box=SIMPLE_HEAD, title=Text(one_line(evidence.system)), title_justify="left", pad_edge=False)
    table.add_column("requirement", overflow="fold")
    table.add_column("required")
    table.add_column("measured", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("why")
    for requirement in evidence.requirements:
        sign, style = _LOOK[requirement.verdict]
        table.add_row(
            Text.assemble((one_line(requirement.id), "bold"), f"\n{_against(requirement)}"),
            Text(_required(requirement)),
            Text(_measured(requirement)),
            Text(f"{sign} {requirement.verdict.value}", style),
            Text(short_reason(requirement)),
        )
    return table


def _against(requirement: RequirementEvidence) -> str:
    return f"{one_line(requirement.adversary)}, {where(requirement)}"


def _required(requirement: RequirementEvidence) -> str:
    bound = requirement.bound
    sense = "≥" if bound.sense == ">=" else "≤"
    return f"{measure_name(bound.measure)}\n{sense} {bound_amount(bound)}"


def _measured(requirement: RequirementEvidence) -> str:
    measured = judged(requirement)
    if measured is None:
        return "–"
    low, high = measured.ends
    if MEASURES[measured.measure].unit == "share":
        return f"{percent(measured.value)}\n[{low * 100:.1f}, {high * 100:.1f}]"
    return f"{amount(measured.measure, measured.value)}\n[{low:.3g}, {high:.3g}]"
