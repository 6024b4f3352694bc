"""From a measure, a bound and the signs of failed attacks to a verdict and its reason."""

from collections.abc import Sequence

from redoubt.records import Bound, Measured, Sign, Verdict


def conclude(bound: Bound, measures: Sequence[Measured], signs: Sequence[Sign]) -> tuple[Verdict, str]:
    """The verdict on one requirement, and why, in plain sentences.

    VIOLATED if the whole 95 % interval misses the bound: the counterexamples are in hand, so no sign can unsay it.
    WITHSTOOD if the whole interval keeps the bound and no sign was raised.
    PROVED, for certified_accuracy, if the whole interval of what is certified keeps the bound: no sign of a failed
    attack can unsay a proof.  VIOLATED there if the whole interval of what no strategy fooled misses it.
    UNDECIDED otherwise.  For a measure that attacks drive (robust_accuracy, attack_success), attacks that failed can
    only have made the model look better than it is.
    """
    found = next((m for m in measures if m.measure == bound.measure), None)
    if bound.measure == "certified_accuracy":
        return _certified(bound, found, next(m for m in measures if m.measure == "robust_accuracy"))
    if found is None:
        return Verdict.UNDECIDED, f"No input was answered rightly to begin with, so {bound.measure} has no meaning."
    low, high = found.interval.low, found.interval.high
    figure = _figure(found)
    at_least = bound.sense == ">="
    if high < bound.value if at_least else low > bound.value:
        return Verdict.VIOLATED, f"{figure}; the policy requires {bound.sense} {bound.value:.1%}."
    if bound.value == (1.0 if at_least else 0.0):
        return Verdict.UNDECIDED, (
            f"{figure}; no number of examples shows {bound.sense} {bound.value:.0%}. "
            f"Require {'99.9 %' if at_least else '0.1 %'}, say, and take enough examples for it."
        )
    if low < bound.value if at_least else high > bound.value:
        return Verdict.UNDECIDED, (
            f"{figure}, and the bound {bound.sense} {bound.value:.1%} lies inside the interval: "
            f"{found.trials} examples are too few to tell. Take more test examples."
        )
    if signs and bound.measure != "clean_accuracy":  # which no attack had a part in
        return Verdict.UNDECIDED, (
            f"{figure}, which keeps the bound {bound.sense} {bound.value:.1%}, but the attacks cannot be trusted here: "
            + " ".join(sign.explanation for sign in signs)
        )
    return Verdict.WITHSTOOD, (
        f"{figure}; the policy requires {bound.sense} {bound.value:.1%}. "
        "The strategies that were played failed within their budget; others might not."
    )


def _certified(bound: Bound, found: Measured | None, robust: Measured) -> tuple[Verdict, str]:
    """The verdict on certified accuracy, from what is certified and what no strategy fooled."""
    required = f"the policy requires {bound.sense} {bound.value:.1%}"
    if robust.interval.high < bound.value:
        return Verdict.VIOLATED, (
            f"At most robust_accuracy could be certified, and {_figure(robust)}: "
            f"the others are answered wrongly somewhere in the set; {required}."
        )
    if found is None:
        return Verdict.UNDECIDED, f"Nothing could be proved of this model in this set; {required}."
    if found.interval.low >= bound.value:
        return Verdict.PROVED, (
            f"{_figure(found)}; {required}. For each of these {found.successes} examples it is proved that no input of "
            "the set changes the answer, whatever the strategy, of the network as float32 computes it; that inputs "
            f"like them keep the bound too rests on the sample of {found.trials}."
        )
    if found.value >= bound.value:
        return Verdict.UNDECIDED, (
            f"{_figure(found)}, and the bound {bound.sense} {bound.value:.1%} lies inside the interval: "
            f"{found.trials} examples are too few to tell. Take more test examples."
        )
    return Verdict.UNDECIDED, (
        f"{_figure(found)}; {required}. Of {robust.successes - found.successes} more, no strategy found a wrong answer "
        "and nothing is proved. Allow more `branches`, or train for certificates."
    )


def _figure(found: Measured) -> str:
    low, high = found.interval.low, found.interval.high
    return f"{found.measure} is {found.value:.1%} of {found.trials} (95 % interval {low:.1%} to {high:.1%})"
