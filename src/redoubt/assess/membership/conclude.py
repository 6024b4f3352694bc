"""From finished jobs to the evidence on one membership requirement."""

from collections.abc import Sequence

import torch
from torch import Tensor

from redoubt.assess.membership.plan import MembershipPlan
from redoubt.assess.membership.records import digest_of_record
from redoubt.assess.membership.signs import blind_sign, unlike_sign
from redoubt.assess.setting import Setting
from redoubt.assess.system import System
from redoubt.attacks.membership import Asked, MembershipAttack, Shadows, View
from redoubt.games.membership import Told, conclude_membership, membership_measures, roc, strongest
from redoubt.records import (
    ExposedRecord,
    Fault,
    MembershipEvidence,
    MembershipOutcome,
    RocPoint,
    ShadowModels,
    Sign,
    SignName,
    Work,
)

EXPOSED = 20  # members listed


def conclude_plan(plan: MembershipPlan, setting: Setting) -> tuple[MembershipEvidence, dict[str, Tensor]]:
    """Judge one requirement: the evidence, and the records to be shown, by key."""
    requirement, shown = plan.requirement, plan.shown
    shadows, right_inside = _shadows(plan)
    plain, _ = _asked(plan, None)
    told: dict[str, Told] = {}
    outcomes: list[MembershipOutcome] = []
    for attack in plan.attacks:
        own, work = _asked(plan, attack.name) if (attack.name, 0) in plan.asked else _asked(plan, None)
        outcome, said = _play(attack, View(shown.y, own, shadows), shown.members, work)
        outcomes.append(outcome)
        if said is not None:
            told[attack.name] = said
    outcomes += [_broken(name, why) for name, why in plan.unaffordable.items()]
    measures = strongest(list(told.values())) if told else ()
    models = _models(plan, setting.system, shadows, right_inside, plain) if shadows is not None else None
    signs = _signs(outcomes, shadows, shown.members, models)
    others = len(shown) - shown.members
    verdict, reason = conclude_membership(requirement.require, measures, signs, others)
    best = _strongest(outcomes, requirement.require.measure)
    exposed, tensors = _exposed(plan, told[best]) if best else ((), {})
    evidence = MembershipEvidence(
        id=requirement.id,
        adversary=requirement.adversary,
        require=requirement.require,
        verdict=verdict,
        reason=reason,
        measures=measures,
        signs=tuple(signs),
        work=sum((_asked(plan, name)[1] for name in dict.fromkeys(name for name, _ in plan.asked)), Work()),
        source=shown.source,
        digest=shown.digest,
        members=shown.members,
        others=others,
        outcomes=tuple(outcomes),
        strongest=best,
        shadows=models,
        exposed=exposed,
    )
    return evidence, tensors


def _shadows(plan: MembershipPlan) -> tuple[Shadows | None, Tensor]:
    """All shadow models, and what they answer rightly, bool `[M, N]`."""
    parts = [plan.trained[first] for first in sorted(plan.trained)]
    if not parts:
        return None, torch.zeros(0)
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return Shadows(joined["confidence"], joined["greatest"], joined["inside"]), joined["right"]


def _asked(plan: MembershipPlan, strategy: str | None) -> tuple[Asked, Work]:
    """What the target answered to a strategy's variants, or to the records themselves; and what that cost."""
    parts = [part for (name, _), part in sorted(plan.asked.items(), key=lambda item: item[0][1]) if name == strategy]
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    work = Work(queries=joined["right"].numel(), refusals=int(joined["refused"].sum()))
    return Asked(joined["right"], joined.get("confidence"), joined.get("greatest")), work


def _play(attack: MembershipAttack, view: View, members: int, work: Work) -> tuple[MembershipOutcome, Told | None]:
    try:
        scores = attack.scores(view)
        if scores.shape != view.y.shape or not scores.isfinite().all():
            raise Fault(f"{attack.name} gave scores of shape {list(scores.shape)}, or some that are not finite")
    except (Fault, RuntimeError, ValueError, ArithmeticError, IndexError) as error:
        return _broken(attack.name, f"{type(error).__name__}: {error}", attack.parameters), None
    told = Told(scores[:members], scores[members:])
    return (
        MembershipOutcome(
            strategy=attack.name,
            parameters=attack.parameters,
            measures=membership_measures(told),
            roc=tuple(RocPoint(alarms=alarms, found=found) for alarms, found in roc(told)),
            work=work,
        ),
        told,
    )


def _broken(
    name: str, why: str, parameters: dict[str, bool | int | float | str | None] | None = None
) -> MembershipOutcome:
    return MembershipOutcome(strategy=name, parameters=parameters or {}, measures=(), broke=why)


def _strongest(outcomes: Sequence[MembershipOutcome], measure: str) -> str | None:
    """The strategy that found most; of several, the one that found more at the other measures."""
    played = [outcome for outcome in outcomes if outcome.measures]

    def strength(outcome: MembershipOutcome) -> tuple[float, ...]:
        values = {figure.measure: figure.value for figure in outcome.measures}
        return values[measure], *values.values()

    return max(played, key=strength).strategy if played else None


def _models(plan: MembershipPlan, system: System, shadows: Shadows, right: Tensor, target: Asked) -> ShadowModels:
    members = plan.shown.members
    return ShadowModels(
        source=plan.requirement.shadows.source or system.policy.model.source,
        models=len(right),
        records=int(shadows.inside[0].sum()),
        inside=float(right[shadows.inside].double().mean()),
        outside=float(right[~shadows.inside].double().mean()),
        target_inside=float(target.right[:members, 0].double().mean()),
        target_outside=float(target.right[members:, 0].double().mean()),
    )


def _signs(
    outcomes: Sequence[MembershipOutcome], shadows: Shadows | None, members: int, models: ShadowModels | None
) -> list[Sign]:
    signs = [
        Sign(name=SignName.BROKEN_STRATEGY, explanation=f"{outcome.strategy} broke off: {outcome.broke}.")
        for outcome in outcomes
        if outcome.broke
    ]
    if shadows is not None and models is not None:
        signs += [sign for sign in (blind_sign(shadows, members), unlike_sign(models)) if sign is not None]
    return signs


def _exposed(plan: MembershipPlan, told: Told) -> tuple[tuple[ExposedRecord, ...], dict[str, Tensor]]:
    """The members that are found most easily."""
    rows = told.members.argsort(descending=True, stable=True)[:EXPOSED].tolist()
    shown, found, tensors = plan.shown, [], {}
    for row in rows:
        key = f"{plan.requirement.id}/member/{row}" if plan.requirement.show else None
        if key is not None:
            tensors[f"{key}/clean"] = shown.x[row].clone()
        found.append(
            ExposedRecord(
                row=row,
                label=int(shown.y[row]),
                digest=digest_of_record(shown.x[row]),
                ahead=int((told.others >= told.members[row]).sum()),
                tensor=key,
            )
        )
    return tuple(found), tensors
