"""Whether a candidate is accepted, refused, or left to a person."""

from redoubt.games.update.changes import changes_of
from redoubt.records import Change, Observed, Update, Verdict
from redoubt.records.update_evidence import Outcome

_AGAINST = {
    "current": "against the model in force",
    "anchor": "against the last model that a person vouched for",
    "stored": "against what was answered then",
}
_AMONG = {"held_out": "held-out inputs", "queries": "past queries", "batch": "examples of the batch"}


def judge_update(observed: Observed, update: Update) -> tuple[Outcome, tuple[str, ...], tuple[Change, ...]]:
    """The outcome, its reasons in sentences, and what was measured.

    1. Refused: an answer is no number, a bound is broken with its whole interval, or a requirement is violated.
    2. Left to a person: a bound lies inside an interval, a bounded measure could not be taken, or a requirement is
       undecided and its measured value misses the bound.
    3. Accepted otherwise.  A requirement that stays undecided for want of examples is not in the way: the small budget
       finds what is clearly broken, and an assessment decides.
    """
    changes = changes_of(observed.compared, observed.batch, update)
    broken = [
        f"The candidate answers {counts.unsound} of {counts.rows} {_AMONG[counts.among]} with NaN or infinity."
        for counts in observed.compared
        if counts.unsound
    ]
    broken += [_sentence(change) for change in changes if change.stand == "broken"]
    broken += [
        f"Requirement {each.id} is violated: {each.reason}"
        for each in observed.requirements
        if each.verdict is Verdict.VIOLATED
    ]
    if broken:
        return "refused", tuple(broken), changes
    open_ = [f"{_sentence(change)} The bound lies inside the interval." for change in changes if change.stand == "open"]
    taken = {change.measure for change in changes}
    open_ += [
        f"{bound.measure} is bounded and could not be measured."
        for bound in update.bounds
        if bound.measure not in taken and not (bound.measure == "contradicted" and observed.batch is None)
    ]
    open_ += [
        f"Requirement {each.id} is undecided, and what was measured misses it: {each.reason}"
        for each in observed.requirements
        if each.verdict is Verdict.UNDECIDED and each.keeps is False
    ]
    if open_:
        return "person", tuple(open_), changes
    held = sum(change.stand == "holds" for change in changes)
    if not held:
        return "person", ("No bound was shown to hold.",), changes
    return "accepted", (f"All of {held} bounded measures hold with their 95 % intervals.",), changes


def _sentence(change: Change) -> str:
    low, high = change.interval.low, change.interval.high
    where = f" (class {change.label})" if change.label is not None else ""
    against = "" if change.among == "batch" else f" {_AGAINST[change.against]}"
    return (
        f"{change.measure}{against} is {change.value:.2%}{where} of {change.trials} {_AMONG[change.among]} "
        f"(95 % interval {low:.2%} to {high:.2%}); the policy allows {change.bound or 0:.2%}."
    )
