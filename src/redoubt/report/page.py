"""The HTML report: one self-contained file, no scripts, nothing fetched."""

from collections import Counter
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from redoubt.records import EvasionEvidence, Fault, FeatureMove, MembershipEvidence, RequirementEvidence, Verdict
from redoubt.report import charts, words
from redoubt.report.members import MembersSection, members_section
from redoubt.report.pictures import Move, Triptych, gain_for, is_image, largest_moves, picture, triptych
from redoubt.report.read import Folder, Neighbours, Pair
from redoubt.report.search import Search, search_section

ORDER = (Verdict.VIOLATED, Verdict.UNDECIDED, Verdict.WITHSTOOD, Verdict.PROVED)


@dataclass(frozen=True)
class _Example:
    row: int
    was: str
    became: str
    strategy: str
    within: str
    passes: str
    distance: str
    picture: Triptych | None
    moves: list[Move]
    features: tuple[FeatureMove, ...]


@dataclass(frozen=True)
class _Other:
    row: int
    label: str
    other: str
    within: str
    example: str
    training: str


@dataclass(frozen=True)
class _Section:
    """One requirement, ready to print."""

    anchor: str
    evidence: EvasionEvidence
    demand: str
    reason: str
    measured: str
    where: str
    bar: str
    radius: str | None
    work: str | None
    needs: str
    guard: str | None
    headline: str
    wrong_before: int
    found: Search | None
    fooled: int
    seconds: list[str]
    elapsed: float
    examples: list[_Example]
    moved: list[words.OftenMoved]
    invariance: list[str]
    proofs: str
    others: list[_Other]
    template: str = "evasion.html.j2"


def render_page(folder: Folder, command: str) -> str:
    """The whole report as HTML.

    Args:
        folder: the evidence.
        command: the shell command that makes this evidence again.
    """
    evidence, timings = folder.evidence, folder.timings
    tally = Counter(requirement.verdict for requirement in evidence.requirements)
    environment = Environment(
        loader=PackageLoader("redoubt.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "plain": words.plain,
        "line": words.one_line,
        "count": words.count,
        "bound": words.bound_words,
        "measure": words.measure_name,
        "measured": words.measured_words,
        "span": words.seconds,
        "hours": words.time_words,
    }
    return environment.get_template("report.html.j2").render(
        evidence=evidence,
        policy=folder.policy,
        timings=timings,
        elapsed=sum(timings.of(requirement.id) for requirement in evidence.requirements) if timings else 0.0,
        command=command,
        headline=words.headline(evidence),
        verdict=next((verdict for verdict in ORDER if tally[verdict]), Verdict.UNDECIDED),
        tally=[(verdict, tally[verdict]) for verdict in ORDER],
        meaning=words.MEANING,
        manners=words.MANNERS,
        remedies=words.SIGN_REMEDY,
        passes=sum(requirement.work.passes for requirement in evidence.requirements),
        sections=[_section(folder, requirement, f"r{i}") for i, requirement in enumerate(evidence.requirements, 1)],
    )


def _section(folder: Folder, requirement: RequirementEvidence, anchor: str) -> _Section | MembersSection:
    """One requirement, as its game has it."""
    if isinstance(requirement, MembershipEvidence):
        return members_section(folder, requirement, anchor)
    if isinstance(requirement, EvasionEvidence):
        return _moved_section(folder, requirement, anchor)
    raise Fault(f"the report knows no game '{requirement.game}'", remedy="please report this")


def _moved_section(folder: Folder, requirement: EvasionEvidence, anchor: str) -> _Section:
    evidence = folder.evidence
    low, high = evidence.input_range
    pairs = folder.pairs[requirement.id]
    gain = gain_for(pairs, high - low)
    measured = words.judged(requirement)
    times = folder.timings.seconds.get(requirement.id, {}) if folder.timings else {}
    return _Section(
        anchor=anchor,
        evidence=requirement,
        demand=words.demand(requirement),
        reason=words.reason(requirement),
        measured=words.measured_words(measured) if measured else "not measured",
        where=words.where(requirement),
        bar=charts.bar(requirement, f"{anchor}-bar"),
        radius=charts.radius_chart(requirement, f"{anchor}-radius"),
        work=charts.work_chart(requirement, f"{anchor}-work"),
        needs=words.work_sentence(requirement),
        guard=charts.guard_chart(requirement.guarded, f"{anchor}-guard") if requirement.guarded else None,
        headline=words.work_factor(requirement.guarded) if requirement.guarded else "",
        wrong_before=words.wrong_before(requirement.examples),
        found=search_section(requirement.found),
        fooled=sum(example.perturbed is not None for example in requirement.examples),
        seconds=_seconds(times, requirement),
        elapsed=sum(times.get(strategy, 0.0) for strategy in {o.strategy for o in requirement.outcomes}),
        examples=[_example(folder, pair, low, high, gain) for pair in pairs],
        moved=words.often_moved(requirement.examples),
        proofs=words.proofs_sentence(requirement.proofs) if requirement.proofs else "",
        invariance=[words.invariance_sentence(check) for check in requirement.invariance],
        others=[_other(folder, pair, low, high) for pair in folder.others[requirement.id]],
    )


def _other(folder: Folder, pair: Neighbours, low: float, high: float) -> _Other:
    evidence, result = folder.evidence, pair.result
    drawn = is_image(evidence.input_shape)
    return _Other(
        row=result.row,
        label=words.class_name(evidence, result.label),
        other=words.class_name(evidence, result.other),
        within=words.one_line(pair.within),
        example=picture(pair.example, low, high) if drawn else "",
        training=picture(pair.training, low, high) if drawn else "",
    )


def _seconds(times: dict[str, float], requirement: EvasionEvidence) -> list[str]:
    """One entry per outcome.  A strategy played in several sets was timed once: its time stands in the first row."""
    seen: set[str] = set()
    entries = []
    for outcome in requirement.outcomes:
        known = outcome.strategy in times and outcome.strategy not in seen
        entries.append(words.seconds(times[outcome.strategy]) if known else "")
        seen.add(outcome.strategy)
    return entries


def _example(folder: Folder, pair: Pair, low: float, high: float, gain: float) -> _Example:
    result, evidence = pair.result, folder.evidence
    drawn = is_image(evidence.input_shape)
    return _Example(
        row=result.row,
        was=words.class_name(evidence, result.clean),
        became=words.class_name(evidence, result.perturbed if result.perturbed is not None else result.clean),
        strategy=words.one_line(result.strategy or ""),
        within=words.one_line(result.within or ""),
        passes=words.count(result.work.passes),
        distance="" if result.distance is None else f"{result.distance:.3g}",
        picture=triptych(pair, low, high, gain) if drawn else None,
        moves=[] if drawn or result.moves else largest_moves(pair),
        features=result.moves,
    )
