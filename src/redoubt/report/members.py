"""The section of a membership requirement: curve in logarithms, strategies, records that were recognised."""

import math
from dataclasses import dataclass

from redoubt.records import Figure, MembershipEvidence, MembershipOutcome
from redoubt.records.membership import FALSE_ALARMS
from redoubt.report import charts, words
from redoubt.report.heading import Heading, heading
from redoubt.report.pictures import is_image, picture
from redoubt.report.read import Folder
from redoubt.report.svg import Axis


@dataclass(frozen=True)
class _Exposed:
    row: int
    label: str
    digest: str
    ahead: str
    picture: str


@dataclass(frozen=True)
class _Row:
    strategy: str
    parameters: list[str]
    figures: list[str]
    queries: str
    broke: str
    strongest: bool


@dataclass(frozen=True)
class MembersSection(Heading):
    """One requirement, ready to print."""

    roc: str | None
    needs: str
    heads: list[str]
    together: list[str]
    rows: list[_Row]
    shadows: str
    exposed: list[_Exposed]
    elapsed: float
    template: str = "members.html.j2"


def members_section(folder: Folder, requirement: MembershipEvidence, anchor: str) -> MembersSection:
    """Make it from the evidence."""
    names = [figure.measure for figure in requirement.measures]
    return MembersSection(
        **heading(requirement, anchor, demand_of_members(requirement), members_shown(requirement)),
        roc=roc_chart(requirement, f"{anchor}-roc"),
        needs=work_on_members(requirement),
        heads=[words.measure_name(name) for name in names],
        together=[words.measured_words(figure) for figure in requirement.measures],
        rows=[_row(outcome, names, requirement.strongest) for outcome in requirement.outcomes],
        shadows=shadows_sentence(requirement),
        exposed=_exposed(folder, requirement),
        elapsed=folder.timings.of(requirement.id) if folder.timings else 0.0,
    )


def demand_of_members(requirement: MembershipEvidence) -> str:
    """What the requirement asks, in one sentence."""
    bound, who = requirement.bound, f"adversary “{words.one_line(requirement.adversary)}”"
    if bound.measure == "membership_auc":
        return (
            f"Shown a record that the model was trained on and one that it was not, {who} may tell which is which with "
            f"a probability of {words.bound_words(bound)}; guessing has 50\u00a0%."
        )
    return (
        f"Of the records that the model was trained on, {words.bound_words(bound)} may be recognised by {who}, which "
        f"is measured as {words.measure_name(bound.measure)}."
    )


def members_shown(requirement: MembershipEvidence) -> str:
    """Which records the adversary is shown."""
    members, others = words.count(requirement.members), words.count(requirement.others)
    return f"{members} members of {words.one_line(requirement.source)}, {others} others"


def work_on_members(requirement: MembershipEvidence) -> str:
    """What the adversary spent, in one sentence."""
    models = requirement.shadows
    trained = ""
    if models is not None:
        number, records = words.count(models.models), words.count(models.records)
        trained = f", and trained {number} models of its own on {records} records each"
    return f"The adversary asked the model {words.count(requirement.work.queries)} times{trained}."


def _row(outcome: MembershipOutcome, names: list[str], strongest: str | None) -> _Row:
    figures: dict[str, Figure] = {figure.measure: figure for figure in outcome.measures}
    return _Row(
        strategy=words.one_line(outcome.strategy),
        parameters=[
            f"{words.one_line(key)}={words.one_line(str(value))}" for key, value in sorted(outcome.parameters.items())
        ],
        figures=[words.measured_words(figures[name]) if name in figures else "–" for name in names],
        queries=words.count(outcome.work.queries),
        broke=words.one_line(outcome.broke or ""),
        strongest=outcome.strategy == strongest,
    )


def shadows_sentence(requirement: MembershipEvidence) -> str:
    """What the adversary trained, and how like the target it is; empty if nothing."""
    models = requirement.shadows
    if models is None:
        return ""
    return (
        f"{words.count(models.models)} models of {words.one_line(models.source)}, each trained on a random half of "
        f"these records ({words.count(models.records)}). They answer {words.percent(models.inside)} of the records "
        f"they were trained on rightly, and {words.percent(models.outside)} of the others; the model under assessment "
        f"{words.percent(models.target_inside)} and {words.percent(models.target_outside)}. The nearer these are, the "
        "more the attack can be trusted."
    )


def _exposed(folder: Folder, requirement: MembershipEvidence) -> list[_Exposed]:
    evidence = folder.evidence
    low, high = evidence.input_range
    found = []
    for one in requirement.exposed:
        drawn = folder.shown.get(one.tensor or "")
        shown = picture(drawn, low, high) if drawn is not None and is_image(evidence.input_shape) else ""
        label = words.class_name(evidence, one.label)
        found.append(_Exposed(one.row, label, words.one_line(one.digest), words.count(one.ahead), shown))
    return found


def roc_chart(requirement: MembershipEvidence, ident: str) -> str | None:
    """Members found against false alarms, both in logarithms, with the line of guessing; None if nothing was played."""
    drawn = [outcome for outcome in requirement.outcomes if outcome.roc]
    if not drawn:
        return None
    least = 10.0 ** math.floor(math.log10(min(0.0005, 1 / requirement.others, 1 / requirement.members)))
    left, right, top, floor = charts.edges()
    x, y = Axis(least, 1, left, right, log=True), Axis(least, 1, floor, top, log=True)
    board = charts.frame(ident, "Members found against false alarms", "; ".join(_said(outcome) for outcome in drawn))
    for tick in y.ticks():
        board.line(left, y(tick), right, y(tick), "grid" if tick > least else "floor")
        board.text(left - 8, y(tick) + 4, f"{tick * 100:g} %", "tick", "end")
    for tick in x.ticks():
        charts.x_tick(board, x(tick), f"{tick * 100:g} %")
    board.text((left + right) / 2, floor + 38, "false alarms: others taken for members", "legend", "middle")
    board.text(left + 4, top - 9, "members found", "legend")
    board.path([(x(least), y(least)), (x(1), y(1))], "here")
    for rate in FALSE_ALARMS.values():
        board.line(x(rate), top, x(rate), floor, "here")
    for outcome in sorted(drawn, key=lambda outcome: outcome.strategy == requirement.strongest):
        mine = outcome.strategy == requirement.strongest
        points = [(p.alarms / requirement.others, p.found / requirement.members) for p in outcome.roc]
        board.path([(x(max(a, least)), y(max(f, least))) for a, f in points], "curve" if mine else "curve other")
        if mine:
            name = f"{words.one_line(outcome.strategy)[:40]}; dashed: the other strategies"
            board.text(left + 10, top + 16, name, "note")
    return str(board)


def _said(outcome: MembershipOutcome) -> str:
    figures = [f"{words.measure_name(one.measure)} {words.measured_words(one)}" for one in outcome.measures]
    return f"{words.one_line(outcome.strategy)}: {', '.join(figures)}"
