"""The charts of the HTML report: robust accuracy against radius, against work, and the bar beside each verdict."""

import itertools
import math
from collections import Counter

from redoubt.records import MEASURES, CurvePoint, Distances, EvasionEvidence, Measured, RequirementEvidence
from redoubt.records.campaign import WorkFactor
from redoubt.report.svg import Axis, Board
from redoubt.report.words import (
    bound_words,
    count,
    judged,
    measure_name,
    measure_of,
    measured_words,
    one_line,
    percent,
    work_factor,
)

_WIDTH, _HEIGHT = 520.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 14.0, 24.0, 46.0
_FLOOR = _HEIGHT - _BOTTOM


def bar(requirement: RequirementEvidence, ident: str) -> str:
    """The judged measure on a line from 0 to 100 %, with its interval and the bound.

    What is no share stands on a line from 0 to twice the bound, or so far as the measure goes.
    """
    bound, measured = requirement.bound, judged(requirement)
    says = f"{measured_words(measured)}, " if measured else "Not measured, "
    board = Board(204, 30, ident, measure_name(bound.measure), f"{says}required {bound_words(bound)}.")
    share = MEASURES[bound.measure].unit == "share"
    x = Axis(0, 1 if share else max(2 * bound.value, 1.1 * measured.ends[1] if measured else 0.0, 1e-6), 2, 202)
    board.rect(2, 12, 200, 6, "track", 3)
    edge = x(bound.value)
    kept = (edge, 202.0) if bound.sense == ">=" else (2.0, edge)
    board.rect(kept[0], 12, kept[1] - kept[0], 6, "kept", 3)
    board.line(edge, 5, edge, 25, "bound")
    if measured:
        low, high = (x(min(max(end, 0.0), 1.0)) for end in measured.ends)  # a drop may be negative
        kind = requirement.verdict.value
        board.line(low, 15, high, 15, f"whisker {kind}")
        for end in (low, high):
            board.line(end, 11, end, 19, f"whisker {kind}")
        board.diamond(x(min(max(measured.value, 0.0), 1.0)), 15, 5, f"mark {kind}")
    return str(board)


def radius_chart(requirement: EvasionEvidence, ident: str) -> str | None:
    """Robust accuracy against radius; None if no curve was measured."""
    if not requirement.curve:
        return None
    points = sorted(requirement.curve, key=lambda point: point.scale)
    clean, judged_here = measure_of(requirement, "clean_accuracy"), measure_of(requirement, "robust_accuracy")
    log = points[-1].scale > 12 * points[0].scale and points[-1].scale > 4
    high = max(points[-1].scale, 1.0)
    low = min(points[0].scale, 1.0) if log else 0.0
    x = Axis(low, high * (1.25 if log else 1.04), _LEFT, _WIDTH - _RIGHT, log)
    description = "; ".join(f"{_set(point)}: {measured_words(point.robust)}" for point in points)
    board = frame(ident, "Robust accuracy against radius", description)
    y = shares(board, x.stop)
    for tick in x.ticks():
        x_tick(board, x(tick), f"{tick:g}×")
    board.text((x.start + x.stop) / 2, _HEIGHT - 8, "radius, as a multiple of the requirement's", "legend", "middle")
    board.line(x(1), _TOP, x(1), _FLOOR, "here")
    end = x(1) > (x.start + x.stop) * 0.6
    board.text(
        x(1) + (-5 if end else 5), _TOP - 9, one_line(requirement.within)[:60], "note", "end" if end else "start"
    )
    start = [(x(0), y(clean.value))] if clean and not log else []
    line = [*start, *((x(point.scale), y(point.robust.value)) for point in points)]
    if requirement.distances:
        line = [(x(scale), y(share)) for scale, share in _steps(requirement.distances, low, points[-1].scale)]
    board.path(line, "curve")
    if clean and not log:
        board.dot(x(0), y(clean.value), 3.5, "point hollow", f"no perturbation: {measured_words(clean)}")
    for point in points:
        _whisker(board, x(point.scale), y, point.robust)
        board.dot(x(point.scale), y(point.robust.value), 3.5, "point", f"{_set(point)}: {measured_words(point.robust)}")
    if judged_here:
        says = f"all strategies, all data: {measured_words(judged_here)}"
        board.diamond(x(1), y(judged_here.value), 6, f"mark {requirement.verdict.value}", says)
    _bound(board, requirement, line, x, y)
    return str(board)


def _steps(distances: Distances, low: float, high: float) -> list[tuple[float, float]]:
    """Robust accuracy at every radius from `low` to `high`, as the corners of its steps."""
    share = distances.standing(low) / distances.trials
    corners = [(low, share)]
    for scale in sorted({multiple for multiple in distances.multiples if low < multiple <= high}):
        corners.append((scale, share))
        share = distances.standing(scale) / distances.trials
        corners.append((scale, share))
    return [*corners, (high, share)]


def work_chart(requirement: EvasionEvidence, ident: str) -> str | None:
    """Robust accuracy against passes billed per example; None if nothing was billed."""
    examples = requirement.examples
    right = sum(example.clean == example.label for example in examples)
    most = max((example.work.passes for example in examples), default=0)
    if not most:
        return None
    fell = Counter(max(e.work.passes, 1) for e in examples if e.clean == e.label and e.perturbed is not None)
    x = Axis(1, max(10.0, 10 ** (math.log10(most) * 1.02)), _LEFT, _WIDTH - _RIGHT, log=True)
    standing, steps = right, [(1, right)]
    for passes in sorted(fell):
        steps.append((passes, standing))
        standing -= fell[passes]
        steps.append((passes, standing))
    steps.append((most, standing))
    board = frame(
        ident,
        "Robust accuracy against passes billed per example",
        f"From {percent(right / len(examples))} before any attack to {percent(standing / len(examples))} after "
        f"{count(most)} passes.",
    )
    y = shares(board, x.stop)
    for tick in x.ticks():
        x_tick(board, x(tick), count(tick))
    board.text((x.start + x.stop) / 2, _HEIGHT - 8, "passes billed per example", "legend", "middle")
    line = [(x(passes), y(left / len(examples))) for passes, left in steps]
    board.path([(line[0][0], y(0)), *line, (line[-1][0], y(0))], "area")
    board.path(line, "curve")
    board.dot(*line[0], 3.5, "point hollow", f"before any attack: {percent(right / len(examples))}")
    says = f"after {count(most)} passes each: {percent(standing / len(examples))}"
    board.diamond(*line[-1], 6, f"mark {requirement.verdict.value}", says)
    _bound(board, requirement, line, x, y)
    return str(board)


def guard_chart(work: WorkFactor, ident: str) -> str | None:
    """Share of inputs brought to a wrong answer against queries spent on each: without the guard, and through it."""
    bare, guarded = work.bare, work.guarded
    if bare is None or guarded is None or not bare.efforts or not guarded.efforts:
        return None
    most = max(effort.queries for campaign in (bare, guarded) for effort in campaign.efforts)
    x = Axis(1, max(10.0, 10 ** (math.log10(max(most, 1)) * 1.02)), _LEFT, _WIDTH - _RIGHT, log=True)
    board = frame(ident, "Inputs fallen against queries, without the guard and through it", work_factor(work))
    y = shares(board, x.stop)
    for tick in x.ticks():
        x_tick(board, x(tick), count(tick))
    board.text((x.start + x.stop) / 2, _HEIGHT - 8, "queries spent on an input", "legend", "middle")
    lines = ((bare, "curve other", "dashed: the model alone"), (guarded, "curve", "through the guard"))
    for at, (campaign, line, name) in enumerate(lines):
        fallen, steps = 0, [(1.0, 0.0)]
        for queries in sorted(effort.queries for effort in campaign.successes):
            steps.append((queries, fallen / len(campaign.efforts)))
            fallen += 1
            steps.append((queries, fallen / len(campaign.efforts)))
        steps.append((x.high, fallen / len(campaign.efforts)))
        board.path([(x(queries), y(share)) for queries, share in steps], line)
        says = f"{name}: {one_line(campaign.strategy)}, {percent(fallen / len(campaign.efforts))}"
        board.text(x.start + 8, y(1) + 16 + 16 * at, says[:60], "note")
    return str(board)


# ── what the charts share ────────────────────────────────────────────────────────────────────────────────────────


def edges() -> tuple[float, float, float, float]:
    """Where charts are drawn: left, right, top and floor."""
    return _LEFT, _WIDTH - _RIGHT, _TOP, _FLOOR


def frame(ident: str, title: str, description: str) -> Board:
    """An empty chart."""
    return Board(_WIDTH, _HEIGHT, ident, title, description)


def shares(board: Board, right: float) -> Axis:
    """The vertical axis, 0 to 100 %, with its grid."""
    y = Axis(0, 1, _FLOOR, _TOP)
    for share in (0, 0.25, 0.5, 0.75, 1):
        board.line(_LEFT, y(share), right, y(share), "grid" if share else "floor")
        board.text(_LEFT - 8, y(share) + 4, f"{share * 100:g} %", "tick", "end")
    return y


def x_tick(board: Board, x: float, content: str) -> None:
    """A tick on the horizontal axis."""
    board.line(x, _FLOOR, x, _FLOOR + 4, "floor")
    board.text(x, _FLOOR + 17, content, "tick", "middle")


def _bound(board: Board, requirement: RequirementEvidence, line: list[tuple[float, float]], x: Axis, y: Axis) -> None:
    """The bound, if it bounds what is drawn, and its name where it covers least of the line."""
    bound = requirement.bound
    if bound.measure != "robust_accuracy":
        return
    level, wide = y(bound.value), 128.0
    board.line(x.start, level, x.stop, level, "bound")

    def covered(spot: tuple[str, float]) -> int:
        left, base = x.stop - wide if spot[0] == "end" else x.start, level + spot[1]
        inside = sum(left <= px <= left + wide and base - 18 <= py <= base + 8 for px, py in _dense(line))
        return inside + 1000 * (base > _FLOOR - 4 or base < _TOP + 8)

    anchor, drop = min(itertools.product(("end", "start"), (-6.0, 15.0)), key=covered)
    edge = x.stop - 4 if anchor == "end" else x.start + 6
    board.text(edge, level + drop, f"required: {bound_words(bound)}", "note", anchor)


def _dense(line: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The line as points a sixteenth of a segment apart."""
    return [
        (x1 + (x2 - x1) * step / 16, y1 + (y2 - y1) * step / 16)
        for (x1, y1), (x2, y2) in itertools.pairwise(line)
        for step in range(17)
    ]


def _whisker(board: Board, x: float, y: Axis, measured: Measured) -> None:
    low, high = y(measured.interval.low), y(measured.interval.high)
    board.line(x, low, x, high, "whisker")
    for end in (low, high):
        board.line(x - 4, end, x + 4, end, "whisker")


def _set(point: CurvePoint) -> str:
    return one_line(point.within)
