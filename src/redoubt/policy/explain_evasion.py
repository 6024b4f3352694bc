"""A requirement of the evasion game in plain sentences."""

from redoubt.policy.explain_table import explain_table
from redoubt.policy.samples import Decisive, decisive_counts, fewest_examples
from redoubt.policy.strategies import playable
from redoubt.policy.words import listed, percent
from redoubt.records import (
    EvasionRequirement,
    Norm,
    Policy,
    WithinAnyOf,
    WithinCorruptions,
    WithinNorm,
    WithinPatch,
    WithinSimple,
    WithinTable,
)

BRANCHES = 200
"""Sub-problems that a proof may bound for each example, where the policy does not say."""


def explain_evasion(requirement: EvasionRequirement, policy: Policy) -> str:
    """The whole paragraph."""
    share = percent(requirement.require.value)
    move = _moves(requirement, policy.model.input.range)
    match requirement.require.measure:
        case "robust_accuracy":
            claim = (
                f"whatever {requirement.adversary} does, the model must answer at least {share} of the test "
                f"examples rightly. {move}."
            )
        case "certified_accuracy":
            claim = (
                f"for at least {share} of the test examples the model must answer rightly, and it must be proved that "
                f"nothing {requirement.adversary} may do changes the answer. {move}. A proof may take "
                f"{requirement.branches or BRANCHES:,} sub-problems for each example; strategies are played first, and "
                "what they bring to a wrong answer needs no proof."
            )
        case "attack_success":
            claim = (
                f"of the test examples that the model answers rightly, {requirement.adversary} must bring at most "
                f"{share} to a wrong answer. {move}."
            )
        case _:
            claim = f"the model must answer at least {share} of the test examples rightly when nobody moves them."
    strategies = f"Strategies: {', '.join(playable(requirement, policy))}."
    told = _evidence(requirement, policy.data.test.take)
    if requirement.require.measure == "certified_accuracy":
        told = told.replace("withstood", "proved").replace("are answered rightly", "are certified", 1)
    return f"Requirement {requirement.id}: {claim} {strategies} {told}"


def _moves(requirement: EvasionRequirement, span: tuple[float, float]) -> str:
    if isinstance(requirement.within, WithinAnyOf):
        ways = "; or ".join(_move(part, span) for part in requirement.within.any_of)
        return f"To each input, {requirement.adversary} may do any one of this: {ways}"
    return f"{requirement.adversary} may {_move(requirement.within, span)}"


def _move(within: WithinSimple | WithinTable, span: tuple[float, float]) -> str:
    """What the adversary may do to an input, as the rest of a sentence."""
    if isinstance(within, WithinNorm):
        size = f"{within.radius:g}"
        if within.norm is Norm.LINF:
            part = percent(within.radius / (span[1] - span[0]))
            return f"change every value of an input by at most {size} (Linf), which is {part} of the input range"
        if within.norm is Norm.L2:
            return f"change an input by a Euclidean length of at most {size} (L2)"
        if within.norm is Norm.L0:
            return f"change at most {size} pixels of an image, or values of another input, as far as it likes (L0)"
        return f"change the values of an input by at most {size} in sum (L1)"
    if isinstance(within, WithinTable):
        return explain_table(within, span)
    if isinstance(within, WithinCorruptions):
        kinds = listed(within.corruptions, "or")
        most = min(within.at_once, len(within.corruptions))
        combined = f", up to {most} of them at once in the worst combination" if most > 1 else ""
        return f"corrupt an image by {kinds}{combined}, each up to severity {within.severity:g} of 5 as in ImageNet-C"
    if isinstance(within, WithinPatch):
        return _patch(within)
    turn = f"turn an image by up to {within.rotation:g} degrees either way" if within.rotation else ""
    shift = f"shift an image by up to {within.translation:g} pixels along each axis" if within.translation else ""
    both = f"{turn}, then {shift.replace('an image', 'it')}" if turn and shift else turn or shift
    return both if within.then is None else f"{both}, and of what comes of it {_move(within.then, span)}"


def _patch(within: WithinPatch) -> str:
    least, greatest = within.scale
    chance = [
        f"at {least:g} to {greatest:g} times its size" if least < greatest else "",
        f"turned by up to {within.rotation:g} degrees" if within.rotation else "",
        f"brighter or darker by up to {percent(within.light)} of the input range" if within.light else "",
    ]
    how = listed([word for word in chance if word], "and")
    return (
        f"print a square patch of any pixels, {percent(within.patch)} of the image in area, which chance then lays "
        f"over any place of it{', ' + how if how else ''}; an input counts as fooled if at least "
        f"{percent(within.share)} of {within.draws:,} fresh placements are answered wrongly"
    )


def _evidence(requirement: EvasionRequirement, take: int | None) -> str:
    """What the test examples can tell about the bound."""
    bound = requirement.require
    inverse = bound.sense == "<="
    share = 1 - bound.value if inverse else bound.value
    if share <= 0:
        return "Every model keeps this bound, so it requires nothing."
    fewest = fewest_examples(share)
    if fewest is None:
        return "No number of examples can show a share of 100 %: this is violated, or stays undecided."
    counted = "examples answered rightly" if inverse else "examples"
    counts = decisive_counts(take, share) if take is not None else None
    if take is None or counts is None:
        return f"To be withstood it takes at least {fewest:,} {counted}, and all of them must hold."
    if counts.withstood is None:
        return (
            f"{take:,} examples cannot show it, even if all of them hold, and it stays undecided: take at least "
            f"{fewest:,} {counted}."
        )
    return _decided(counts, take, inverse)


def _decided(counts: Decisive, take: int, inverse: bool) -> str:
    if inverse:
        most = take - (counts.withstood or 0)
        least = "" if counts.violated is None else f"; violated, if {take - counts.violated:,} or more fall"
        return (
            f"If the model answers all {take:,} rightly, the requirement is withstood if at most {most:,} of them "
            f"fall{least}; else undecided, by the exact 95 % interval (Clopper and Pearson)."
        )
    violated = "" if counts.violated is None else f", violated if at most {counts.violated:,} are"
    return (
        f"Of {take:,} examples, it is withstood if at least {counts.withstood:,} are answered rightly{violated}, and "
        "undecided otherwise, by the exact 95 % interval (Clopper and Pearson)."
    )
