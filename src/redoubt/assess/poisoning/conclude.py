"""From finished jobs to the evidence on one poisoning requirement."""

from collections.abc import Sequence

import torch
from torch import Tensor

from redoubt.assess.poisoning.plan import PoisoningPlan
from redoubt.assess.setting import Setting
from redoubt.attacks.poisoning import PoisoningAttack
from redoubt.games.poisoning import Fallen, conclude_poisoning, poisoning_measures, strongest
from redoubt.records import (
    PoisonedTarget,
    PoisoningEvidence,
    PoisoningOutcome,
    Sign,
    SignName,
    Victims,
    Work,
)

UNLIKE = 0.10  # by how much victims may be righter or wronger than the model


def conclude_poison(plan: PoisoningPlan, setting: Setting) -> tuple[PoisoningEvidence, dict[str, Tensor]]:
    """Judge one requirement: the evidence, and the targets to be shown, by key."""
    requirement, system = plan.requirement, setting.system
    y = system.data.y
    said = plan.clean["said"].long()
    outcomes: list[PoisoningOutcome] = []
    fallen: dict[str, Fallen] = {}
    for attack, aware in plan.manners:
        outcome, found = _play(plan, attack, aware, said, y)
        outcomes.append(outcome)
        if found is not None:
            fallen[outcome.played] = found
    measures = strongest(list(fallen.values())) if fallen else ()
    victims = Victims(
        source=requirement.victims.source or system.policy.model.source,
        models=len(said),
        accuracy=float((said == y).double().mean()),
        model=float((setting.clean == y).double().mean()),
    )
    signs = _signs(outcomes, victims)
    verdict, reason = conclude_poisoning(requirement.require, measures, signs)
    targets = _targets(plan, fallen, y)
    tensors = {f"{target.tensor}/clean": system.data.x[target.row].clone() for target in targets}
    evidence = PoisoningEvidence(
        id=requirement.id,
        adversary=requirement.adversary,
        require=requirement.require,
        verdict=verdict,
        reason=reason,
        measures=measures,
        signs=tuple(signs),
        work=Work(),
        source=plan.data.source,
        digest=plan.data.digest,
        rows=len(plan.data),
        most=plan.ground.most,
        victims=victims,
        neighbours=requirement.neighbours,
        lost=_lost(plan),
        outcomes=tuple(outcomes),
        strongest=_strongest(outcomes, requirement.require.measure),
        targets=targets,
    )
    return evidence, tensors


def _play(
    plan: PoisoningPlan, attack: PoisoningAttack, aware: bool, said: Tensor, y: Tensor
) -> tuple[PoisoningOutcome, Fallen | None]:
    """What a strategy brought about; a target counts as flipped only where clean data do not flip it already.

    Poison that could not be made for one target leaves the strategy broken: the others alone would be a choice.  An
    adversary who knows the check, and found nothing that passes it, did what one who does not know it did.
    """
    rows: list[int | None] = [aim.row for aim in plan.aims] or [None]
    parts = [plan.poisoned[attack.name, aware, row] for row in rows]
    parts = [
        plan.poisoned[attack.name, False, row] if "idle" in part else part
        for row, part in zip(rows, parts, strict=True)
    ]
    knows = None if plan.requirement.neighbours is None else aware
    broke = next((bytes(part["broke"].tolist()).decode(errors="replace") for part in parts if "broke" in part), None)
    if broke is not None:
        lost = PoisoningOutcome(
            strategy=attack.name, aware=knows, parameters=attack.parameters, measures=(), broke=broke
        )
        return lost, None
    after = torch.stack([part["said"].long() for part in parts])  # [T, V, A]
    hits = None
    if plan.aims:
        hits = torch.stack(
            [
                (answers[:, aim.row] == aim.wanted) & (said[:, aim.row] != aim.wanted)
                for aim, answers in zip(plan.aims, after, strict=True)
            ]
        )
    found = Fallen(hits, said == y, after == y)
    changed = torch.stack([part["rows"] for part in parts])
    caught = None
    if plan.requirement.neighbours is not None:
        gone = ~torch.stack([part["kept"] for part in parts])
        caught = float((changed & gone).sum() / changed.sum().clamp_min(1))
    outcome = PoisoningOutcome(
        strategy=attack.name,
        aware=knows,
        parameters=attack.parameters,
        measures=poisoning_measures(found),
        rows=int(changed.sum(dim=1).max()),
        caught=caught,
    )
    return outcome, found


def _lost(plan: PoisoningPlan) -> float | None:
    """Share of honest rows that the check left out, over all poisoned data sets."""
    parts = [part for part in plan.poisoned.values() if "kept" in part]
    if plan.requirement.neighbours is None or not parts:
        return None
    honest = torch.cat([~part["kept"][~part["rows"]] for part in parts])
    return float(honest.double().mean())


def _strongest(outcomes: Sequence[PoisoningOutcome], measure: str) -> str | None:
    """The strategy that did most; of several, the one that comes first."""
    played = [outcome for outcome in outcomes if outcome.measures]

    def strength(outcome: PoisoningOutcome) -> float:
        return next(figure.value for figure in outcome.measures if figure.measure == measure)

    return max(played, key=strength).played if played else None


def _signs(outcomes: Sequence[PoisoningOutcome], victims: Victims) -> list[Sign]:
    signs = [
        Sign(name=SignName.BROKEN_STRATEGY, explanation=f"{outcome.played} broke off: {outcome.broke}.")
        for outcome in outcomes
        if outcome.broke
    ]
    if abs(victims.accuracy - victims.model) > UNLIKE:
        signs.append(
            Sign(
                name=SignName.VICTIMS_DIFFER,
                explanation=(
                    f"Victims are unlike the model: trained on clean data they answer {victims.accuracy:.1%} of the "
                    f"test inputs rightly, the model {victims.model:.1%}."
                ),
            )
        )
    return signs


def _targets(plan: PoisoningPlan, fallen: dict[str, Fallen], y: Tensor) -> tuple[PoisonedTarget, ...]:
    found = []
    for at, aim in enumerate(plan.aims):
        flipped = {name: int(one.hits[at].sum()) for name, one in fallen.items() if one.hits is not None}
        key = f"{plan.requirement.id}/target/{aim.row}"
        found.append(PoisonedTarget(row=aim.row, label=int(y[aim.row]), wanted=aim.wanted, flipped=flipped, tensor=key))
    return tuple(found)
