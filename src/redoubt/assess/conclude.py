"""From finished tasks to the evidence on one requirement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from redoubt.assess.chains import Done
from redoubt.assess.doubts import Doubts
from redoubt.assess.proofs import SEARCH, Proven
from redoubt.assess.signs import RawPoint, Trials, find_signs
from redoubt.assess.suite import Bout
from redoubt.data import Dataset
from redoubt.games import conclude, evasion_measures, measured
from redoubt.perturb import NormBall, PerturbationSet, Table
from redoubt.records import (
    CurvePoint,
    Distances,
    EvasionEvidence,
    EvasionRequirement,
    ExampleResult,
    FeatureMove,
    Measured,
    StrategyOutcome,
    Work,
)

PICTURES = 24  # perturbed inputs kept per requirement, for the report


@dataclass(frozen=True)
class Curve:
    """The probe's finished tasks.

    Attributes:
        sets: scale and set of each point, smallest first.
        rows: the part of the data it was played on, right or wrong.
        played: all the probes' finished tasks.
        nearest: those of the minimum-norm strategies.
        everything: the set of all inputs, if it was played.
    """

    sets: tuple[tuple[float, PerturbationSet], ...]
    rows: tuple[int, ...]
    played: tuple[Done, ...]
    nearest: tuple[Done, ...]
    everything: PerturbationSet | None


@dataclass(frozen=True)
class Concluded:
    """Evidence on a requirement, and the pictures that go with it: key to float32 `[*shape]`."""

    evidence: EvasionEvidence
    pictures: dict[str, Tensor]


def conclude_requirement(
    requirement: EvasionRequirement,
    within: PerturbationSet,
    bouts: Sequence[Bout],
    rounds: Sequence[Done],
    curve: Curve,
    clean: Tensor,
    data: Dataset,
    doubts: Doubts,
    proven: Proven | None = None,
) -> Concluded:
    """Judge one requirement.

    Args:
        requirement: what must hold.
        within: its set.
        bouts: what was to be played, in order.
        rounds: the game's finished tasks, each example's in the order they were played.
        curve: the probe's.
        clean: the model's answers to the unperturbed inputs, int64 `[N]`.
        data: the inputs and labels it is judged on.
        doubts: what was seen of the model before anything was played.
        proven: what was proved of the examples that still stood, if the requirement asks for it.
    """
    y = data.y
    examples, pictures = _examples(requirement.id, rounds, clean, data, proven)
    robust = torch.tensor([example.robust for example in examples])
    fell_at = _fell_at(within, curve, rounds, clean, y)
    raw, points, unbounded = _curve(curve, clean, y, fell_at)
    reached = frozenset(row for row, scale in _sizes(within, curve.nearest).items() if scale <= 1)
    certified = None if proven is None or proven.record.obstacle else len(proven.certified)
    measures = evasion_measures(int((clean == y).sum()), int(robust.sum()), len(y), certified)
    trials = Trials(tuple(rounds), within, robust, curve.played, tuple(raw), unbounded, reached)
    signs = find_signs(trials, doubts)
    verdict, reason = conclude(requirement.require, measures, signs)
    if proven is not None and proven.record.obstacle:
        reason = f"{reason} The obstacle: {proven.record.obstacle}."
    evidence = EvasionEvidence(
        id=requirement.id,
        game=requirement.game,
        adversary=requirement.adversary,
        within=str(within),
        require=requirement.require,
        verdict=verdict,
        reason=reason,
        measures=measures,
        outcomes=tuple(_outcome(bout, rounds) for bout in bouts),
        found=tuple(note for done in rounds for note in done.result.meter.notes),
        signs=signs,
        curve=points,
        unbounded=unbounded,
        distances=_distances(within, curve, fell_at),
        examples=examples,
        work=sum((done.result.meter.work() for done in rounds), Work()),
        proofs=None if proven is None else proven.record,
    )
    return Concluded(evidence, pictures)


def _outcome(bout: Bout, rounds: Sequence[Done]) -> StrategyOutcome:
    mine = [done for done in rounds if done.task.attack == bout.attack and done.task.within == bout.within]
    fooled_passes = [done.result.meter.passes[done.result.fooled] for done in mine]
    passes = torch.cat(fooled_passes).double() if mine else torch.zeros(0)
    return StrategyOutcome(
        strategy=bout.attack.name,
        parameters=bout.attack.parameters,
        within=str(bout.within),
        attacked=sum(int((done.result.meter.passes > 0).sum()) for done in mine),
        fooled=len(passes),
        work=sum((done.result.meter.work() for done in mine), Work()),
        passes_to_fool=float(passes.quantile(0.5)) if len(passes) else None,
        mean_passes_to_fool=float(passes.mean()) if len(passes) else None,
        broke=next((done.result.broke for done in mine if done.result.broke), None),
    )


def _examples(
    requirement: str, rounds: Sequence[Done], clean: Tensor, data: Dataset, proven: Proven | None
) -> tuple[tuple[ExampleResult, ...], dict[str, Tensor]]:
    """What became of each example, and pictures of some that were fooled."""
    y = data.y
    work = [Work()] * len(y)
    fell: dict[int, dict[str, object]] = {}
    drawn: dict[int, Tensor] = {}
    for done in rounds:
        result, drawings = done.result, iter(done.result.perturbed)
        for at, row in enumerate(done.task.rows):
            work[row] += result.meter.work(at)
            if result.fooled[at]:
                radius = _radius(done.task.within)
                fell[row] = {
                    "perturbed": int(result.answers[at]),
                    "strategy": done.task.attack.name,
                    "within": str(done.task.within),
                    "distance": float(result.size[at]) * radius,
                }
                drawn[row] = next(drawings)
                if isinstance(done.task.within, Table):
                    moved = done.task.within.moved(data.x[row], drawn[row])
                    fell[row]["moves"] = tuple(FeatureMove.model_validate(vars(move)) for move in moved)
    for row, broken in proven.broken.items() if proven else ():
        size = broken.within.size(data.x[row : row + 1], broken.x[None])
        fell[row] = {
            "perturbed": broken.answer,
            "strategy": SEARCH,
            "within": str(broken.within),
            "distance": float(size) * _radius(broken.within),
        }
        drawn[row] = broken.x
    shown = {row: f"{requirement}/{row}" for row in _spread(sorted(drawn), y)}
    examples = tuple(
        ExampleResult.model_validate(
            {"row": row, "label": int(y[row]), "clean": int(clean[row]), "work": work[row], "tensor": shown.get(row)}
            | ({"certified": True} if proven and row in proven.certified else {})
            | fell.get(row, {})
        )
        for row in range(len(y))
    )
    return examples, {key: drawn[row] for row, key in shown.items()}


def _radius(within: PerturbationSet) -> float:
    """What a size of 1 means in the set's own units; 1 for sets that have several."""
    if isinstance(within, NormBall):
        return within.radius
    return within.budget if isinstance(within, Table) else 1.0


def _spread(rows: Sequence[int], y: Tensor) -> list[int]:
    """Up to `PICTURES` of the rows, taking the classes in turn."""
    seen: dict[int, int] = {}
    turns: list[tuple[int, int]] = []
    for row in rows:
        label = int(y[row])
        turns.append((seen.get(label, 0), row))
        seen[label] = seen.get(label, 0) + 1
    return sorted(row for _, row in sorted(turns)[:PICTURES])


def _sizes(within: PerturbationSet, played: Sequence[Done]) -> dict[int, float]:
    """The least move that fooled each example, as a multiple of the radius of that member of the set, or of a larger
    ball of its norm.
    """
    sizes: dict[int, float] = {}
    for done in played:
        ball = done.task.within
        radii = [part.radius for part in within.members if isinstance(part, NormBall) and type(part) is type(ball)]
        if not radii or not isinstance(ball, NormBall):
            continue
        radius = max(radii)
        for at, row in enumerate(done.task.rows):
            if done.result.fooled[at]:
                size = min(float(done.result.size[at]), 1.0)  # the judge has found it inside, but for rounding
                sizes[row] = min(sizes.get(row, math.inf), size * ball.radius / radius)
    return sizes


def _fell_at(
    within: PerturbationSet, curve: Curve, rounds: Sequence[Done], clean: Tensor, y: Tensor
) -> dict[int, float]:
    """The least multiple of the radius at which each of the curve's examples is known to fall."""
    looked_at = set(curve.rows)
    fell = {row: 0.0 for row in curve.rows if clean[row] != y[row]}
    for row, scale in _sizes(within, (*curve.nearest, *curve.played, *rounds)).items():
        if row in looked_at:
            fell[row] = min(fell.get(row, math.inf), scale)
    return fell


def _distances(within: PerturbationSet, curve: Curve, fell_at: dict[int, float]) -> Distances | None:
    """None where some member of the set has no norm to tell distances by."""
    names = tuple(dict.fromkeys(done.task.attack.name for done in curve.nearest))
    if not names or not all(isinstance(member, NormBall) for member in within.members):
        return None
    return Distances(strategies=names, trials=len(curve.rows), multiples=tuple(sorted(fell_at.values())))


def _curve(
    curve: Curve, clean: Tensor, y: Tensor, fell_at: dict[int, float]
) -> tuple[list[RawPoint], tuple[CurvePoint, ...], Measured | None]:
    """The curve as each probe found it, and as it is known: fooled in a smaller set is fooled in a larger one, and who
    was brought to a wrong answer nearby is fooled in every set that reaches there.
    """
    trials = len(curve.rows)
    right = {row for row in curve.rows if clean[row] == y[row]}

    def fooled_in(within: PerturbationSet) -> set[int]:
        mine = [done for done in curve.played if done.task.within in within.members]
        pairs = [pair for done in mine for pair in zip(done.task.rows, done.result.fooled.tolist(), strict=True)]
        return {row for row, fell in pairs if fell}

    raw: list[RawPoint] = []
    points: list[CurvePoint] = []
    fallen: set[int] = set()
    for scale, within in curve.sets if right else ():
        here = fooled_in(within)
        fallen |= here | {row for row in right if fell_at.get(row, math.inf) <= scale * (1 + 1e-5)}
        raw.append(RawPoint(scale, frozenset(right - here), trials))
        standing = measured("robust_accuracy", len(right - fallen), trials)
        points.append(CurvePoint(scale=scale, within=str(within), robust=standing))
    if curve.everything is None or not right:
        return raw, tuple(points), None
    unbounded = measured("robust_accuracy", len(right - fooled_in(curve.everything)), trials)
    return raw, tuple(points), unbounded
