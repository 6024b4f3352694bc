"""The update gate in plain sentences."""

import math
from statistics import NormalDist

from redoubt.policy.words import listed
from redoubt.records import UPDATE_MEASURES, EvasionRequirement, Policy, Update

_LEVEL = 0.95


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
    return [
        f"redoubt update compares a candidate with the model in force on {where.source}{past}. It is put in force if "
        f"the whole 95 % interval of each keeps its bound, refused if one breaks it, and left to a person otherwise: "
        f"{listed(bounds, 'and')}.{together}{_again(policy, update)} {_needs(policy, update)}"
    ]


def _again(policy: Policy, update: Update) -> str:
    """Which requirements are assessed again, and which are not."""
    left = not_reassessed(policy, update)
    some = len(left) < len(policy.requirements)
    found = (
        f" Evasion requirements are assessed again on {update.reassess.examples:,} examples, "
        f"{update.reassess.passes:,} passes each, and none may be violated."
        if some
        else ""
    )
    return found + (f" Not assessed again: {listed(left, 'and')}." if left else "")


def not_reassessed(policy: Policy, update: Update) -> list[str]:
    """The requirements of which the gate says nothing of a candidate: each with its game.

    The other games take models trained from scratch, or many more inputs than a small budget has.
    """
    return [
        f"{each.id} ({each.game})"
        for each in policy.requirements
        if update.requirements == "ignore" or not isinstance(each, EvasionRequirement)
    ]


def _needs(policy: Policy, update: Update) -> str:
    """How many held-out examples it takes for a candidate that changes no answer at all to be accepted."""
    classes = policy.model.classes
    needed = [0]
    for bound in update.bounds:
        if bound.measure in ("stored_changes", "contradicted"):
            continue
        if bound.value == 0:
            return f"No number of examples shows {bound.measure} of 0 %, so every candidate is left to a person."
        if bound.measure in ("accuracy_drop", "share_shift"):
            needed.append(_paired(bound.value, classes if bound.measure == "share_shift" else 1))
        elif bound.measure == "class_shift":
            needed.append(classes * _paired(bound.value, classes))
        elif bound.measure == "output_drift":
            needed.append(math.ceil(7 * math.log(4 / (1 - _LEVEL)) / (3 * bound.value)) + 1)
        else:
            needed.append(math.ceil(math.log((1 - _LEVEL) / 2) / math.log(1 - bound.value)))
    where = update.held_out or policy.data.test
    too_few = where.take is not None and where.take < max(needed)
    return f"To be accepted takes at least {max(needed):,} held-out examples" + (
        f"; of {where.take:,}, every candidate is left to a person." if too_few else "."
    )


def _paired(bound: float, together: int) -> int:
    """Examples with which the score interval of no change at all, one of so many, keeps a bound."""
    z = NormalDist().inv_cdf(1 - (1 - _LEVEL) / together / 2)
    return math.ceil(z * z * (1 - bound) / bound)
