"""The guard in plain sentences: who may ask, what must be true of a query, what becomes of it, what is kept."""

from collections.abc import Iterable

from redoubt.policy.rules import compile_rule, number
from redoubt.policy.words import listed
from redoubt.records import SIGNALS, Guard, Lockout, Policy, Rule, Tier
from redoubt.records.guard import Kept, Otherwise

_SENSES = {"<": "less than", "<=": "at most", ">": "more than", ">=": "at least", "==": "exactly", "!=": "other than"}
_OTHERWISE: dict[Otherwise, str] = {
    "refuse": "the query is refused",
    "lock": "the query is refused and the account gets a strike",
    "degrade": "the answer shows the class alone",
    "escalate": "the robust model answers",
}
_KEPT: dict[Kept, str] = {
    "digest": "the digest of the input",
    "fingerprint": "its fingerprint",
    "decision": "the decision and why",
    "signals": "all signals as measured",
    "input": "the input itself",
}


def explain_guard(policy: Policy, guard: Guard) -> list[str]:
    """Paragraphs of plain sentences, in the order of the guard's steps."""
    paragraphs = [_identify(guard), *(_tier(name, tier, guard) for name, tier in guard.tiers.items())]
    paragraphs += [_rule(rule) for rule in guard.admit]
    paragraphs.append(
        "All rules that bind a tier must be true. A rule with a signal that is missing, broken or out of its range is "
        "unknown, and the query is refused, whatever the rule says otherwise; no strike is given for it."
    )
    if any(rule.otherwise == "lock" for rule in guard.admit):
        paragraphs.append(_lockout(guard.lockout))
    paragraphs += [_signal(name, policy, guard) for name in _mentioned(guard)]
    if guard.demand is not None:
        paragraphs.append(
            f"The model is served only if {guard.demand.attestation}, signed by {guard.demand.key}, says of this very "
            f"model that every requirement is {listed(guard.demand.accept, 'or')}."
        )
    return [*paragraphs, _record(guard)]


def _identify(guard: Guard) -> str:
    tokens = guard.identify.tokens
    where = "PostgreSQL" if "://" in guard.identify.keys else guard.identify.keys
    also = (
        f", or a token signed by {tokens.issuer} for {tokens.audience}, whose claims '{tokens.account}' and "
        f"'{tokens.tier}' name account and tier"
        if tokens
        else ""
    )
    return f"The guard serves this model to callers with an API key, kept in {where}{also}. Nobody else is served."


def _tier(name: str, tier: Tier, guard: Guard) -> str:
    pace = f", and {tier.queries_per_minute:,} a minute on average" if tier.queries_per_minute else ""
    if tier.observes == "label":
        sees = "the class alone"
    else:
        sees = f"the scores of the {tier.top:,} best classes" if tier.top else "the scores of all classes"
        sees += f", rounded to {tier.decimals} decimals" if tier.decimals is not None else ""
    robust = f" The robust model, {guard.robust.source}, answers." if tier.model == "robust" and guard.robust else ""
    asks = f"may send {tier.queries_per_day:,} inputs a day (UTC){pace}"
    return f"Tier {name}: each account {asks}, and sees {sees}.{robust}"


def _rule(rule: Rule) -> str:
    who = f"for tier {listed(rule.tiers, 'and')}" if rule.tiers else "for every tier"
    return f"Rule {rule.name}: {who}, {_condition(rule.rule)}; otherwise {_OTHERWISE[rule.otherwise]}."


def _condition(text: str) -> str:
    comparisons = compile_rule(text).comparisons
    if not comparisons:
        return f"this must be true: {text}"
    return listed((f"{each.signal} must be {_SENSES[each.sense]} {number(each.bound)}" for each in comparisons), "and")


def _lockout(lockout: Lockout) -> str:
    enough = "One strike locks" if lockout.strikes == 1 else f"{lockout.strikes:,} strikes lock"
    return (
        f"{enough} an account for {_duration(lockout.lasts)}, in which nothing is answered. One strike is forgotten "
        f"in every {_duration(lockout.forgets)}."
    )


def _mentioned(guard: Guard) -> Iterable[str]:
    return dict.fromkeys(name for rule in guard.admit for name in compile_rule(rule.rule).signals)


def _signal(name: str, policy: Policy, guard: Guard) -> str:
    settings = guard.detectors
    match SIGNALS[name].detector:
        case "fingerprints":
            needs = f" It compares with the latest {settings.fingerprints.remember:,} queries of all accounts."
        case "query_distance":
            needs = f" It compares with the latest {settings.query_distance.remember:,} queries of the account."
        case "deep_knn" if policy.data.train is not None:
            needs = (
                f" It compares with {policy.data.train.source}, less {settings.deep_knn.calibration:,} examples to "
                "calibrate on."
            )
        case "squeezing":
            needs = " It asks the model twice."
        case "strip" if policy.data.train is not None:
            often = settings.strip.overlays
            needs = f" It asks the model {often} times more, under inputs of {policy.data.train.source}."
        case "second_model" if settings.second_model is not None:
            needs = f" It asks {settings.second_model.source} as well."
        case "frames":
            needs = " The caller says which stream a frame belongs to; a query without a stream is unknown."
        case _:
            needs = ""
    return f"Signal {name}: {SIGNALS[name].says}{needs}"


def _record(guard: Guard) -> str:
    record = guard.record
    kept = listed((_KEPT[what] for what in _KEPT if what in record.keep), "and")
    witnesses = [key.partition("+")[0] for key in record.witnesses]
    seen = f" Its checkpoints are cosigned by {listed(witnesses, 'and')}." if witnesses else ""
    raw = (
        " Inputs can hold personal data: the log keeps them for good, since nothing is ever removed from it."
        if "input" in record.keep
        else " Inputs themselves are not kept."
    )
    return f"Every decision is written to the log in {record.log} before its answer leaves: {kept}.{raw}{seen}"


def _duration(seconds: float) -> str:
    """In the largest unit that leaves a whole number.

    >>> _duration(3600.0), _duration(90.0), _duration(0.5)
    ('1 h', '90 s', '0.5 s')
    """
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds % size == 0:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:g} s"
