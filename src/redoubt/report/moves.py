"""The section of an evasion requirement, and its sentences: where inputs may move, what that cost, which fell."""

from dataclasses import dataclass
from statistics import median

from redoubt.records import EvasionEvidence, FeatureMove
from redoubt.report import charts, words
from redoubt.report.heading import Heading, heading
from redoubt.report.pictures import Move, Triptych, gain_for, is_image, largest_moves, picture, triptych
from redoubt.report.read import Folder, Neighbours, Pair
from redoubt.report.search import Search, search_section


def demand_of_moves(requirement: EvasionEvidence) -> str:
    """What the requirement asks, in one sentence."""
    bound, share = requirement.bound, words.bound_words(requirement.bound)
    who = words.one_line(requirement.adversary)
    move = f"adversary “{who}” may move each of them within {where_moved(requirement)}"
    if bound.measure == "clean_accuracy":
        return f"The model must answer {share} of the inputs rightly, with nobody interfering."
    if bound.measure == "certified_accuracy":
        return f"For {share} of the inputs it must be proved that the answer stays right although the {move}."
    if bound.measure == "attack_success":
        return f"Of the inputs answered rightly, {share} may be brought to a wrong answer when the {move}."
    return f"The model must answer {share} of the inputs rightly even when the {move}."


def where_moved(requirement: EvasionEvidence) -> str:
    """Where the adversary may move an input."""
    return words.one_line(requirement.within)


def work_of_moves(requirement: EvasionEvidence) -> str:
    """The work that an attacker needs, in one or two sentences."""
    fell = [example.work.passes for example in requirement.examples if example.perturbed is not None]
    stood = [example.work.passes for example in requirement.examples if example.robust]
    if not any(fell) and not any(stood):
        return "No attack was played: whoever finds a wrong answer here found it by asking once."
    standing = (
        f"{words.inputs(len(stood))} still stood after a median of {words.count(median(stood))} passes each."
        if stood
        else "None was left standing."
    )
    if not fell:
        return f"Not one input fell. {standing}"
    if len(fell) == 1:
        return f"The one input that fell cost {words.count(fell[0])} passes. {standing}"
    return (
        f"Half of the {words.count(len(fell))} inputs that fell cost {words.count(median(fell))} passes each or fewer, "
        f"the cheapest {words.count(min(fell))}, the dearest {words.count(max(fell))}. {standing}"
    )


def open_proofs(requirement: EvasionEvidence) -> str | None:
    """Why an undecided requirement is so, in a few words, where proofs were wanted."""
    if requirement.proofs is None:
        return None
    unknown = requirement.proofs.unknown
    return f"{words.count(unknown)} neither proved nor fooled" if unknown else "too few examples to tell"


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
class MovesSection(Heading):
    """One requirement, ready to print."""

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


def moves_section(folder: Folder, requirement: EvasionEvidence, anchor: str) -> MovesSection:
    """Make it from the evidence."""
    evidence = folder.evidence
    low, high = evidence.input_range
    pairs = folder.pairs[requirement.id]
    gain = gain_for(pairs, high - low)
    times = folder.timings.seconds.get(requirement.id, {}) if folder.timings else {}
    return MovesSection(
        **heading(requirement, anchor, demand_of_moves(requirement), where_moved(requirement)),
        radius=charts.radius_chart(requirement, f"{anchor}-radius"),
        work=charts.work_chart(requirement, f"{anchor}-work"),
        needs=work_of_moves(requirement),
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
