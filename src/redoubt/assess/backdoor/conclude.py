"""From finished jobs to the evidence on one backdoor requirement."""

import math
from collections.abc import Iterator

from torch import Tensor

from redoubt.assess.backdoor.jobs import Result, TriggerJob
from redoubt.assess.backdoor.plan import BackdoorPlan
from redoubt.assess.setting import Setting
from redoubt.attacks.backdoor import Laid
from redoubt.attacks.backdoor.invert import anomaly_indices
from redoubt.attacks.backdoor.invert.universal import grey
from redoubt.games.backdoor import conclude_backdoor
from redoubt.games.measures import measured
from redoubt.models import Face
from redoubt.records import BackdoorEvidence, BrokenSearch, Sign, SignName, TriggerOutcome, Work

_FLAT = 0.25  # share of steps without a usable slope beyond which a search says little
_REACHES = 0.9  # success that triggers over the whole input must have, on average over classes
_SHOWN = 5
_FEWEST = 5  # classes without which none is an outlier


def conclude_backdoor_plan(plan: BackdoorPlan, setting: Setting) -> tuple[BackdoorEvidence, dict[str, Tensor]]:
    """Judge one requirement: the evidence; and the trigger and inputs that wear it, by key."""
    requirement, face = plan.requirement, setting.system.model.face
    order = {(job.name, job.targets): at for at, (job, _) in enumerate(_in_order(plan))}
    done = sorted(plan.done, key=lambda pair: order[pair[0].name, pair[0].targets])
    outcomes, triggers = _outcomes(done)
    # The choice is made by the inputs searched with, so that those held out judge one trigger only.
    best = max(outcomes, key=lambda one: one.searched, default=None)
    probes = [result.tensors["counts"] for job, result in done if job.strategy is None]
    reach = _share(sum(int(c[:, 0].sum()) for c in probes), sum(int(c[:, 1].sum()) for c in probes))
    anomaly = _anomaly(outcomes, best)
    broken = tuple(BrokenSearch(strategy=job.name, why=result.broke) for job, result in done if result.broke)
    signs = tuple(_signs(done, broken, reach))
    name = face.name_of(best.target) if best else ""
    found = best.held_out if best else None
    verdict, reason = conclude_backdoor(requirement.require, found, name, signs, anomaly)
    tensors: dict[str, Tensor] = {}
    if best is not None:
        tensors = _pictures(plan, setting, triggers[best.strategy, best.target])
    evidence = BackdoorEvidence(
        id=requirement.id,
        adversary=requirement.adversary,
        require=requirement.require,
        verdict=verdict,
        reason=reason,
        measures=() if found is None else (found,),
        signs=signs,
        work=sum((_work(result) for _, result in done), Work()),
        within=f"patch {100 * requirement.within.patch:.6g} %",
        pixels=plan.pixels,
        searched=len(plan.halves.search),
        held_out=len(plan.halves.held_out),
        outcomes=tuple(outcomes),
        best=best,
        broken=broken,
        reach=reach,
        anomaly=anomaly,
        tensors=tuple(key.removesuffix("/clean") for key in tensors),
    )
    return evidence, tensors


def _in_order(plan: BackdoorPlan) -> list[tuple[TriggerJob, None]]:
    return [(next(chain), None) for chain, _ in plan.chains]


def _outcomes(
    done: list[tuple[TriggerJob, Result]],
) -> tuple[list[TriggerOutcome], dict[tuple[str, int], Laid]]:
    outcomes, triggers = [], {}
    for job, result in done:
        if job.strategy is None:
            continue
        t = result.tensors
        for row, target in enumerate(t["targets"].tolist()):
            gone, of, held_gone, held_of = t["counts"][row].tolist()
            if not of or not held_of:
                continue  # every input is of that class
            size = float(t["sizes"][row])
            triggers[job.name, target] = Laid(t["masks"][row], t["patterns"][row])
            outcomes.append(
                TriggerOutcome(
                    strategy=job.name,
                    target=target,
                    searched=gone / of,
                    held_out=measured("attack_success", held_gone, held_of),
                    pixels=int(t["masks"][row].sum()),
                    size=size if math.isfinite(size) else None,
                )
            )
    return outcomes, triggers


def _anomaly(outcomes: list[TriggerOutcome], best: TriggerOutcome | None) -> float | None:
    """Of the best trigger's class, by the sizes of the first strategy that measured any."""
    sized = next((one.strategy for one in outcomes if one.size is not None), None)
    mine = [one for one in outcomes if one.strategy == sized]
    if best is None or len(mine) < _FEWEST:
        return None
    indices = anomaly_indices([math.inf if one.size is None else one.size for one in mine])
    return next((index for one, index in zip(mine, indices, strict=True) if one.target == best.target), None)


def _signs(
    done: list[tuple[TriggerJob, Result]], broken: tuple[BrokenSearch, ...], reach: float | None
) -> Iterator[Sign]:
    for one in broken:
        yield Sign(name=SignName.BROKEN_STRATEGY, explanation=f"{one.strategy} broke off: {one.why}.")
    flat = max((float(result.tensors["flat"].max()) for _, result in done if len(result.tensors["flat"])), default=0.0)
    if flat > _FLAT:
        yield Sign(
            name=SignName.VANISHING_GRADIENTS,
            explanation=f"In {flat:.0%} of the steps towards some class the gradient was zero, or not finite.",
        )
    if reach is not None and reach < _REACHES:
        yield Sign(
            name=SignName.RADIUS_DOES_NOT_HURT,
            explanation=(
                f"Triggers that may cover the whole input reach their class for {reach:.1%} of the inputs only; the "
                "search does not work on this model."
            ),
        )


def _pictures(plan: BackdoorPlan, setting: Setting, trigger: Laid) -> dict[str, Tensor]:
    """The trigger on grey, and some held-out inputs that wear it."""
    face: Face = setting.system.model.face
    key = f"{plan.requirement.id}/trigger"
    tensors = {f"{key}/clean": trigger.stamp(grey(face)[None])[0]}
    for row in plan.halves.held_out[:_SHOWN]:
        tensors[f"{key}/{row}/clean"] = trigger.stamp(setting.system.data.x[row : row + 1])[0]
    return tensors


def _work(result: Result) -> Work:
    forwards, backwards = result.tensors["work"].tolist()
    return Work(forwards=forwards, backwards=backwards)


def _share(part: int, of: int) -> float | None:
    return part / of if of else None
