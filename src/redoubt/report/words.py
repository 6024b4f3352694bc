"""Evidence in plain words: what every report says the same way."""

import re
from dataclasses import dataclass

from redoubt.records import (
    MEASURES,
    Bound,
    Evidence,
    ExampleResult,
    Figure,
    InvarianceCheck,
    Measured,
    Proofs,
    RequirementEvidence,
    SignName,
    Verdict,
)
from redoubt.records.campaign import Campaign, WorkFactor

# Control characters (newline and tab excepted), and those that reorder or hide text (Unicode TR 36, TR 55).
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff]"
)


def plain(text: str) -> str:
    r"""The text with unseen characters spelled out, so that no name can hide, reorder or end anything.

    >>> print(plain("a\x1b[31mb\u202ec"))
    a\x1b[31mb\u202ec
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """The text made `plain`, with all white space collapsed."""
    return " ".join(plain(text).split())


def percent(share: float) -> str:
    r"""A share as per cent, one decimal; never rounded to all or nothing.  The space before the sign does not break.

    >>> percent(0.8571), percent(1), percent(0.99999), percent(0.00001)
    ('85.7\xa0%', '100\xa0%', '>99.9\xa0%', '<0.1\xa0%')
    """
    if share in (0, 1):
        return f"{share * 100:.0f}\u00a0%"
    text = f"{share * 100:.1f}"
    return {"100.0": ">99.9", "0.0": "<0.1"}.get(text, text) + "\u00a0%"


def count(number: float) -> str:
    """A count with thousands separated; medians keep their half.

    >>> count(1234567), count(40.5)
    ('1,234,567', '40.5')
    """
    return f"{number:,.0f}" if number == int(number) else f"{number:,.1f}"


def seconds(time: float) -> str:
    """A time span as people say it.

    >>> seconds(0.25), seconds(12.34), seconds(754)
    ('0.25 s', '12.3 s', '12 min 34 s')
    """
    if time < 10:
        return f"{time:.2f} s"
    return f"{time:.1f} s" if time < 60 else f"{int(time) // 60} min {int(time) % 60} s"


def bound_words(bound: Bound) -> str:
    r"""The bound without its measure: `at least 85 %`.

    >>> bound_words(Bound(measure="robust_accuracy", sense=">=", value=0.85))
    'at least 85\xa0%'
    """
    return f"{'at least' if bound.sense == '>=' else 'at most'} {bound_amount(bound)}"


def bound_amount(bound: Bound) -> str:
    r"""The bound's number in its unit.

    >>> bound_amount(Bound(measure="epsilon", sense="<=", value=3, delta=1e-5))
    '3 at delta 1e-05'
    """
    unit = MEASURES[bound.measure].unit
    if unit == "share":
        return f"{round(bound.value * 100, 6):g}\u00a0%"
    if unit == "epsilon":
        return f"{bound.value:g} at delta {bound.delta:g}"
    return f"{bound.value:g}\u00a0bits" if unit == "bits" else count(bound.value)


def amount(measure: str, value: float) -> str:
    r"""A figure of a measure in its unit, rounded.

    >>> amount("robust_accuracy", 0.857), amount("exposure", 3.25), amount("epsilon", 2.987), amount("extracted", 4)
    ('85.7\xa0%', '3.2\xa0bits', '2.99', '4')
    """
    unit = MEASURES[measure].unit if measure in MEASURES else "share"
    if unit == "share":
        return percent(value)
    if unit == "bits":
        return f"{value:.1f}\u00a0bits"
    return f"{value:.3g}" if unit == "epsilon" else count(value)


def measure_name(measure: str) -> str:
    """`robust_accuracy` as `robust accuracy`."""
    return MEASURES[measure].words if measure in MEASURES else one_line(measure).replace("_", " ")


def measured_words(measured: Figure) -> str:
    """A proportion as counted, with its interval: `430 of 1,000 = 43.0 % [39.9 %, 46.1 %]`; or an estimate with its."""
    if not isinstance(measured, Measured):
        unit = MEASURES[measured.measure].unit if measured.measure in MEASURES else "share"
        if unit == "share":
            return f"{measured.value:.3f} [{measured.low:.3f}, {measured.high:.3f}]"
        low, high = (amount(measured.measure, end) for end in measured.ends)
        return f"{amount(measured.measure, measured.value)} [{low}, {high}]"
    interval = measured.interval
    return (
        f"{count(measured.successes)} of {count(measured.trials)} = {percent(measured.value)} "
        f"[{percent(interval.low)}, {percent(interval.high)}]"
    )


def judged(requirement: RequirementEvidence) -> Figure | None:
    """The measure that the requirement bounds; None if it was never taken."""
    return measure_of(requirement, requirement.bound.measure)


def measure_of(requirement: RequirementEvidence, measure: str) -> Figure | None:
    """The measure of that name; None if it was never taken."""
    return next((m for m in requirement.measures if m.measure == measure), None)


def reason(requirement: RequirementEvidence) -> str:
    """Why this verdict, with the measure's name as words."""
    text = one_line(requirement.reason).replace(requirement.bound.measure, measure_name(requirement.bound.measure))
    return text[:1].upper() + text[1:]


def short_reason(requirement: RequirementEvidence) -> str:
    """Why this verdict, in a few words."""
    measured, at_least = judged(requirement), requirement.bound.sense == ">="
    if measured is None:
        return "not measured"
    if requirement.verdict is not Verdict.UNDECIDED:
        best = at_least == (requirement.verdict is Verdict.VIOLATED)
        end = measured.ends[1] if best else measured.ends[0]
        return f"{'at most' if best else 'at least'} {amount(measured.measure, end)}"
    return ", ".join(sign.name.value.replace("-", " ") for sign in requirement.signs) or "too few examples to tell"


def headline(evidence: Evidence) -> str:
    """The one sentence that everybody reads."""
    system, total = one_line(evidence.system), len(evidence.requirements)
    violated = sum(r.verdict is Verdict.VIOLATED for r in evidence.requirements)
    undecided = sum(r.verdict is Verdict.UNDECIDED for r in evidence.requirements)
    if violated:
        return f"{system} does not meet its policy: {_of(violated, total)} violated."
    if undecided or not total:
        return f"It is not known whether {system} meets its policy: {_of(undecided, total)} undecided."
    proved = sum(r.verdict is Verdict.PROVED for r in evidence.requirements)
    if proved == total:
        if all(requirement.game == "evasion" for requirement in evidence.requirements):
            return f"{system} meets its policy by proof: no attack changes enough of its answers on these inputs."
        return f"{system} meets its policy by proof, whatever the adversary does."
    return f"{system} withstood every attack that was tried on it, within the budgets of its policy."


def _of(part: int, total: int) -> str:
    if total == 1:
        return "its one requirement is"
    return f"{part} of {total} requirements {'is' if part == 1 else 'are'}"


MEANING = {
    Verdict.VIOLATED: (
        "Inputs that break the requirement, or records that were recognised, are in hand: anybody can check them.",
        "It does not mean that these are the worst there are, or the only ones.",
    ),
    Verdict.WITHSTOOD: (
        "The strategies named here failed to break the requirement, within the budget named here, on this data.",
        "It is not a proof and it does not mean secure: another strategy, more work or other data may succeed.",
    ),
    Verdict.PROVED: (
        "A proof or an accountant covers every strategy: for enough of these inputs nothing in the set changes the "
        "answer, or no test tells whether a record was among the data.",
        "It says nothing of moves outside the set, and for other inputs like these it rests on the sample; of a "
        "training it says what follows if it did what its ledger says.",
    ),
    Verdict.UNDECIDED: (
        "The evidence allows no answer: too few samples, a strategy that broke, or signs that the attacks were blind.",
        "It does not mean that the system passed. What could not be attacked has not withstood anything.",
    ),
}


def work_factor(work: WorkFactor) -> str:
    """What the guard is worth: the strongest attacker's work without it and through it."""
    bare, guarded = work.bare, work.guarded
    if bare is None or guarded is None:
        return "Nothing was played through the guard."
    return (
        f"Without the guard, {_spent(bare, 'the best attacker')} Through the guard, {_spent(guarded, 'the best one')}"
    )


def _spent(campaign: Campaign, who: str) -> str:
    won, tried, typical = len(campaign.successes), len(campaign.efforts), campaign.typical
    name = f"{who} ({one_line(campaign.strategy)})"
    if typical is None:
        return f"{name} succeeded on none of {count(tried)} inputs."
    queries, accounts, hours = typical
    cost = [f"{count(queries)} {'query' if queries == 1 else 'queries'}"]
    if campaign.manner != "bare":
        cost += [f"{count(accounts)} {'account' if accounts == 1 else 'accounts'}", time_words(hours)]
    return (
        f"{name} succeeded on {count(won)} of {count(tried)} inputs, at a median of {' and '.join(_commas(cost))} each."
    )


def _commas(words: list[str]) -> list[str]:
    return [", ".join(words[:-1]), words[-1]] if len(words) > 1 else words


def time_words(hours: float) -> str:
    """Hours as people say them.

    >>> time_words(0.001), time_words(0.5), time_words(3.25), time_words(72)
    ('4 s', '30 min', '3.2 h', '3 days')
    """
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} days"


MANNERS = {
    "bare": "the model alone",
    "naive": "guarded, as if it were not",
    "adaptive": "guarded, knowing the rules",
    "replay": "guarded, once, found offline with the weights",
}


def inputs(number: int) -> str:
    """So many inputs, at the head of a sentence."""
    return "One input" if number == 1 else f"{count(number)} inputs"


def proofs_sentence(proofs: Proofs) -> str:
    """What was proved, and of what nothing is known."""
    if proofs.obstacle:
        return f"Nothing could be proved: {one_line(proofs.obstacle)}."
    return (
        f"Of the inputs that no strategy brought to a wrong answer, {count(proofs.proved)} are certified: nothing in "
        "the set changes the answer, of the network as float32 computes it. "
        f"For {count(proofs.fooled)} the search for a proof found a wrong answer instead, and {count(proofs.unknown)} "
        f"are open after {count(proofs.branches)} sub-problems each. "
        f"{count(proofs.parts)} sub-problems were bounded in all."
    )


def invariance_sentence(check: InvarianceCheck) -> str:
    """What the look for training inputs of another class found, and what follows from it."""
    within, training = one_line(check.within), one_line(check.training)
    if not check.reachable:
        return (
            f"None of {inputs(check.examined).lower()} has a training input of another class within {within} "
            f"({training}): as far as these data tell, the label holds throughout the set."
        )
    kept = "none" if not check.kept else count(check.kept)
    return (
        f"{count(check.reachable)} of {inputs(check.examined)} have a training input of another class within {within} "
        f"({training}). There a model that is robust must be wrong about one of the two, so the set is too large for "
        f"these data. Of those training inputs the model gives {kept} the label of the input beside it: that much of "
        "its robustness is blindness to what makes the classes differ. The verdict above does not count this."
    )


def class_name(evidence: Evidence, label: int) -> str:
    """The class's name; its index where the evidence has none for it; -1 is a refusal to answer."""
    if label == -1:
        return "no answer"
    return one_line(evidence.classes[label]) if 0 <= label < len(evidence.classes) else f"class {label}"


def wrong_before(examples: tuple[ExampleResult, ...]) -> int:
    """How many inputs were answered wrongly before anybody attacked."""
    return sum(example.clean != example.label for example in examples)


SIGN_REMEDY = {
    SignName.VANISHING_GRADIENTS: "Assess the logits, not a saturated softmax; take quantisation and hard thresholds "
    "out of the path for the assessment, or add strategies that need no gradient (square).",
    SignName.NAN_GRADIENTS: "Find the layer that returns NaN (a square root or logarithm at zero, a division), and "
    "make it finite; until then gradient strategies walk blind.",
    SignName.BLACK_BOX_BEATS_WHITE_BOX: "Knowing more must not help less: something hides the gradient. Assess the "
    "model without the step that hides it, or attack through a smooth stand-in for that step.",
    SignName.RADIUS_DOES_NOT_HURT: "In a set that holds every input some attack must succeed. Check the input range "
    "and the preprocessing, and give the adversary more passes.",
    SignName.LOSS_DOES_NOT_GROW: "The attack did not climb: give it more passes and restarts, and check that the "
    "outputs are declared as what they are (logits or probabilities).",
    SignName.UNSTABLE_OUTPUTS: "Leave `strategies` out of the requirement, so that the adaptive search averages over "
    "the randomness; or switch it off (evaluation mode, fixed seeds).",
    SignName.BROKEN_STRATEGY: "Mend what the strategy's message names, or choose strategies that fit this model, and "
    "assess again.",
    SignName.GRADIENT_MISLEADS: "Look for a backward pass of its own, for noise or for rounding in the model, and "
    "assess the model without that part too.",
    SignName.PROBE_BEATS_GAME: "Leave `strategies` out of the requirement, or give the adversary more passes.",
    SignName.NOT_PLAYED: "Give the adversary a budget that buys some steps of a strategy in every part of the set.",
    SignName.NOT_CONVERGED: "Give the adversary more passes: an attack that was cut off says little.",
    SignName.DETECTOR_NOT_ATTACKED: "Leave `strategies` out of the requirement, so that the adaptive search attacks "
    "the detector together with the classifier; or give the adversary more passes.",
    SignName.PART_NOT_MENDED: "Assess the model without that part too, give the adversary more passes, or write a "
    "strategy that knows the part.",
    SignName.SPLIT_DIFFERS: "Name members and others that were split at random, so that nothing but the training tells "
    "them apart.",
    SignName.SHADOWS_DIFFER: "Give `shadows` the recipe that the model itself was trained by: its kind, epochs, batch, "
    "optimizer and learning rate.",
    SignName.VICTIMS_DIFFER: "Give `victims` the recipe that the model itself was trained by, on the same data: its "
    "kind, epochs, batch, optimizer and learning rate.",
    SignName.SAMPLES_REPEAT: "Draw more samples, or give public text to begin them from.",
    SignName.GRADIENTS_OUT_OF_REACH: "Give the model in a form that can be differentiated, or state an adversary who "
    "only asks it.",
}


@dataclass(frozen=True)
class OftenMoved:
    """A feature of a table, in how many of the inputs that fell it was changed, and what that cost on average."""

    feature: str
    inputs: int
    mean_cost: float


def often_moved(examples: tuple[ExampleResult, ...]) -> list[OftenMoved]:
    """The features that were changed, most often first."""
    costs: dict[str, list[float]] = {}
    for example in examples:
        for move in example.moves:
            costs.setdefault(move.feature, []).append(move.cost)
    moved = [OftenMoved(name, len(spent), sum(spent) / len(spent)) for name, spent in costs.items()]
    return sorted(moved, key=lambda one: (-one.inputs, one.feature))
