"""The evasion game within an assessment.

What follows once its tasks are done, in this order:

1. through     the same, through the guard, if one is named
2. invariance  look for training inputs of another class in the norm balls, if the policy names training data
3. prove       for requirements of certified accuracy, settle the examples that still stand
4. conclude    judge the requirement
"""

from torch import Tensor

from redoubt.assess.conclude import Curve, conclude_requirement
from redoubt.assess.invariance import check_invariance
from redoubt.assess.plan import Plan, make_plan
from redoubt.assess.proofs import prove_requirement
from redoubt.assess.setting import Setting
from redoubt.assess.through import measure_work
from redoubt.records import EvasionEvidence, EvasionRequirement


def plan_moves(requirement: EvasionRequirement, setting: Setting) -> Plan:
    """Plan a requirement.

    Raises:
        PolicyError: no strategy can play it.
    """
    return make_plan(requirement, setting.system, setting.clean, setting.suite, setting.file)


def conclude_moves(plan: Plan, setting: Setting) -> tuple[EvasionEvidence, dict[str, Tensor]]:
    """Evidence on a requirement whose tasks are done, and the inputs that go with it, by key."""
    system, through = setting.system, setting.through
    work = measure_work(plan, system, through, setting.suite, setting.progress) if through else None
    looked = check_invariance(plan, system, setting.train)
    proven = prove_requirement(plan, system, setting.store)
    order = {(bout.attack, bout.within): at for at, bout in enumerate(plan.bouts)}
    rounds = sorted(plan.rounds, key=lambda done: (order[done.task.attack, done.task.within], done.task.rows[0]))
    curve = Curve(plan.curve_sets, plan.curve_rows, tuple(plan.curve), tuple(plan.nearest), plan.everything)
    concluded = conclude_requirement(
        plan.requirement, plan.within, plan.bouts, rounds, curve, setting.clean, system.data, plan.doubts, proven
    )
    tensors = dict(looked[1])
    for key, perturbed in concluded.pictures.items():
        tensors[f"{key}/perturbed"] = perturbed.clone()
        tensors[f"{key}/clean"] = system.data.x[int(key.rsplit("/", 1)[1])].clone()
    return concluded.evidence.model_copy(update={"guarded": work, "invariance": looked[0]}), tensors
