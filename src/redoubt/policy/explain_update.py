"""The update gate in plain sentences."""

from redoubt.policy.words import listed
from redoubt.records import UPDATE_MEASURES, Policy, Update


def explain_update(policy: Policy, update: Update) -> list[str]:
    """What must hold of a candidate, and what becomes of it."""
    where = update.held_out or policy.data.test
    keeps = policy.guard is not None and "input" in policy.guard.record.keep and update.queries > 0
    past = f" and on the latest {update.queries:,} past queries" if keeps else ""
    bounds = [f"{UPDATE_MEASURES[bound.measure]}: at most {100 * bound.value:.4g} %" for bound in update.bounds]
    together = (
        f" All updates since a person vouched for the model may together use up {update.total:g} times each bound."
        if update.total is not None
        else " Updates are not counted together: many small ones may lead anywhere."
    )
    again = (
        f" Evasion requirements are assessed again on {update.reassess.examples:,} examples, "
        f"{update.reassess.passes:,} passes each, and none may be violated."
        if update.requirements == "hold"
        else ""
    )
    return [
        f"redoubt update compares a candidate with the model in force on {where.source}{past}. It is put in force if "
        f"the whole 95 % interval of each keeps its bound, refused if one breaks it, and left to a person otherwise: "
        f"{listed(bounds, 'and')}.{together}{again}"
    ]
