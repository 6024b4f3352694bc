"""The section of a poisoning requirement: strategies, victims, and the targets that were flipped."""

from dataclasses import dataclass

from redoubt.records import Figure, PoisoningEvidence, PoisoningOutcome
from redoubt.report import words
from redoubt.report.heading import Heading, heading
from redoubt.report.pictures import is_image, picture
from redoubt.report.read import Folder

SHOWN = 20  # targets


@dataclass(frozen=True)
class _Row:
    strategy: str
    parameters: list[str]
    figures: list[str]
    rows: str
    caught: str
    broke: str
    strongest: bool


@dataclass(frozen=True)
class _Target:
    row: int
    label: str
    wanted: str
    flipped: str
    picture: str


@dataclass(frozen=True)
class PoisonSection(Heading):
    """One requirement, ready to print."""

    needs: str
    heads: list[str]
    together: list[str]
    rows: list[_Row]
    victims: str
    check: str
    targets: list[_Target]
    elapsed: float
    template: str = "poison.html.j2"


def poison_section(folder: Folder, requirement: PoisoningEvidence, anchor: str) -> PoisonSection:
    """Make it from the evidence."""
    names = [figure.measure for figure in requirement.measures]
    return PoisonSection(
        **heading(requirement, anchor, demand_of_poison(requirement), poison_among(requirement)),
        needs=work_of_poison(requirement),
        heads=[words.measure_name(name) for name in names],
        together=[words.measured_words(figure) for figure in requirement.measures],
        rows=[_row(outcome, names, requirement.strongest) for outcome in requirement.outcomes],
        victims=victims_sentence(requirement),
        check=check_sentence(requirement),
        targets=_targets(folder, requirement),
        elapsed=folder.timings.of(requirement.id) if folder.timings else 0.0,
    )


def demand_of_poison(requirement: PoisoningEvidence) -> str:
    """What the requirement asks, in one sentence."""
    bound, who = requirement.bound, f"adversary “{words.one_line(requirement.adversary)}”"
    share = f"{words.count(requirement.most)} of {words.count(requirement.rows)} training rows"
    if bound.measure == "accuracy_drop":
        return f"Where {who} changes {share}, accuracy may fall by {words.bound_words(bound)}."
    return (
        f"Where {who} changes {share} to have one input answered as it wants, {words.bound_words(bound)} of such "
        "inputs may be."
    )


def poison_among(requirement: PoisoningEvidence) -> str:
    """How much of which data is the adversary's."""
    source = words.one_line(requirement.source)
    return f"{words.count(requirement.most)} of {words.count(requirement.rows)} rows of {source}"


def work_of_poison(requirement: PoisoningEvidence) -> str:
    """What was trained, in one sentence."""
    sets = max(1, len(requirement.targets)) * sum(not outcome.broke for outcome in requirement.outcomes)
    victims = requirement.victims.models
    return (
        f"{words.count(sets)} poisoned data sets were made, and {words.count(sets * victims)} victims were trained on "
        "them from scratch. The adversary had models of its own of the same kind, and asked the model nothing."
    )


def victims_sentence(requirement: PoisoningEvidence) -> str:
    """What was trained, and how like the assessed model it is."""
    one = requirement.victims
    return (
        f"{words.count(one.models)} of {words.one_line(one.source)} for each data set, with seeds that the adversary "
        f"is not told. Trained on clean data they answer {words.percent(one.accuracy)} of the test inputs rightly, and "
        f"the model under assessment {words.percent(one.model)}. The nearer these are, the more the figures tell "
        "about it."
    )


def check_sentence(requirement: PoisoningEvidence) -> str:
    """What the check of the data left out; empty if there was none."""
    if requirement.neighbours is None:
        return ""
    lost = "" if requirement.lost is None else f" Of honest rows {words.percent(requirement.lost)} were left out."
    return (
        "Before victims were trained, rows whose label is not the most frequent among their "
        f"{words.count(requirement.neighbours)} nearest rows were left out. Each strategy was played by an adversary "
        f"who knew that (aware), and by one who did not.{lost}"
    )


def _row(outcome: PoisoningOutcome, names: list[str], strongest: str | None) -> _Row:
    figures: dict[str, Figure] = {figure.measure: figure for figure in outcome.measures}
    return _Row(
        strategy=words.one_line(outcome.played),
        parameters=[
            f"{words.one_line(key)}={words.one_line(str(value))}" for key, value in sorted(outcome.parameters.items())
        ],
        figures=[words.measured_words(figures[name]) if name in figures else "–" for name in names],
        rows=words.count(outcome.rows),
        caught="" if outcome.caught is None else words.percent(outcome.caught),
        broke=words.one_line(outcome.broke or ""),
        strongest=outcome.played == strongest,
    )


def _targets(folder: Folder, requirement: PoisoningEvidence) -> list[_Target]:
    """Those that most victims answer as wanted come first."""
    evidence, victims = folder.evidence, requirement.victims.models
    low, high = evidence.input_range
    found = []
    for one in sorted(requirement.targets, key=lambda one: (-sum(one.flipped.values()), one.row))[:SHOWN]:
        drawn = folder.shown.get(one.tensor)
        shown = picture(drawn, low, high) if drawn is not None and is_image(evidence.input_shape) else ""
        flips = [f"{words.one_line(name)} {hits} of {victims}" for name, hits in one.flipped.items() if hits]
        label, wanted = words.class_name(evidence, one.label), words.class_name(evidence, one.wanted)
        found.append(_Target(one.row, label, wanted, ", ".join(flips) or "none", shown))
    return found
