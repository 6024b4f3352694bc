"""The section of a memorisation requirement: exposure against insertions, and what was extracted."""

import math
from dataclasses import dataclass
from statistics import median

from redoubt.records import MemorisationEvidence
from redoubt.report import charts, words
from redoubt.report.heading import Heading, heading
from redoubt.report.read import Folder
from redoubt.report.svg import Axis

_SHOWN = 20  # pieces listed


@dataclass(frozen=True)
class _Piece:
    at: str
    characters: str
    measure: str
    place: str
    digest: str
    text: str


@dataclass(frozen=True)
class MemorisationSection(Heading):
    """One requirement, ready to print."""

    needs: str
    chart: str | None
    pieces: list[_Piece]
    more: int
    template: str = "memorisation.html.j2"


def memorisation_section(_: Folder, requirement: MemorisationEvidence, anchor: str) -> MemorisationSection:
    """Make it from the evidence."""
    return MemorisationSection(
        **heading(requirement, anchor, demand_of_memory(requirement), text_meant(requirement)),
        needs=work_on_memory(requirement),
        chart=exposure_chart(requirement, f"{anchor}-exposure"),
        pieces=[
            _Piece(
                at=words.count(piece.at),
                characters=words.count(piece.characters),
                measure=words.one_line(piece.measure),
                place=words.count(piece.place + 1),
                digest=words.one_line(piece.digest),
                text=words.plain(piece.text or ""),
            )
            for piece in requirement.pieces[:_SHOWN]
        ],
        more=max(0, len(requirement.pieces) - _SHOWN),
    )


def demand_of_memory(requirement: MemorisationEvidence) -> str:
    """What the requirement asks, in one sentence."""
    bound, who = requirement.bound, f"adversary “{words.one_line(requirement.adversary)}”"
    if bound.measure == "exposure":
        return (
            f"Secrets that were planted into the training text may be exposed to {who} by {words.bound_words(bound)} "
            "in the median."
        )
    return f"Of the training text, {words.bound_words(bound)} pieces may be got out of the model by {who}."


def text_meant(requirement: MemorisationEvidence) -> str:
    """What the adversary is after."""
    source = words.one_line(requirement.source)
    return f"the canaries in {source}" if requirement.bound.measure == "exposure" else f"the text of {source}"


def work_on_memory(requirement: MemorisationEvidence) -> str:
    """What the adversary spent, in one sentence."""
    asked = words.count(requirement.work.queries)
    if requirement.bound.measure == "exposure":
        return f"The model was asked how likely it holds {asked} texts ({requirement.method} ranks)."
    return (
        f"The adversary drew {words.count(requirement.compared)} texts, {asked} tokens in all, and claimed "
        f"{words.count(requirement.claims)} of them."
    )


def exposure_chart(requirement: MemorisationEvidence, ident: str) -> str | None:
    """Exposure of each canary against how often it stands in the text; None where nothing was planted."""
    groups: dict[int, list[float]] = {}
    for canary in requirement.canaries:
        groups.setdefault(canary.times, []).append(canary.bits)
    if not groups:
        return None
    most = max(2.0, *(bits for group in groups.values() for bits in group), requirement.bound.value) * 1.05
    left, right, top, floor = charts.edges()
    times = sorted(groups)
    x, y = Axis(0, len(times), left, right), Axis(0, most, floor, top)
    said = "; ".join(f"{n} times: median {median(groups[n]):.1f} bits of {len(groups[n])} canaries" for n in times)
    board = charts.frame(ident, "Exposure against insertions", said)
    step = 10.0 ** math.floor(math.log10(most)) / (1 if most >= 4 * 10.0 ** math.floor(math.log10(most)) else 2)
    for tick in (step * at for at in range(int(most / step) + 1)):
        board.line(left, y(tick), right, y(tick), "grid" if tick else "floor")
        board.text(left - 8, y(tick) + 4, f"{tick:g}", "tick", "end")
    board.line(left, y(requirement.bound.value), right, y(requirement.bound.value), "bound")
    for at, number in enumerate(times):
        place = x(at + 0.5)
        charts.x_tick(board, place, words.count(number))
        for bits in groups[number]:
            board.diamond(place, y(bits), 3, "mark")
        board.line(place - 16, y(median(groups[number])), place + 16, y(median(groups[number])), "here")
    board.text((left + right) / 2, floor + 38, "times that a canary stands in the training text", "legend", "middle")
    board.text(left + 4, top - 9, "exposure in bits", "legend")
    return str(board)
