"""From a measure, a bound and the signs of failed attacks to a verdict and its reason."""

from collections.abc import Sequence

from redoubt.records import Bound, Measured, Sign, Verdict


def conclude(bound: Bound, measures: Sequence[Measured], signs: Sequence[Sign]) -> tuple[Verdict, str]:
    """The verdict on one requirement, and why, in plain sentences.

    VIOLATED if the whole 95 % interval misses the bound: the counterexamples are in hand, so no sign can unsay it.
    WITHSTOOD if the whole interval keeps the bound and no sign was raised.
    UNDECIDED otherwise.  For a measure that attacks drive (robust_accuracy, attack_success), attacks that failed can
    only have made the model look better than it is.
    """
    found = next((m for m in measures if m.measure == bound.measure), None)
    if found is None:
        return Verdict.UNDECIDED, f"No input was answered rightly to begin with, so {bound.measure} has no meaning."
    share, low, high = found.value, found.interval.low, found.interval.high
    figure = f"{bound.measure} is {share:.1%} of {found.trials} (95 % interval {low:.1%} to {high:.1%})"
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
