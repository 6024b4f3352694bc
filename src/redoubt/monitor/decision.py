"""Step 7 of the guard: rules over signals to a decision, and to the account's standing afterwards.

    1. an account that is locked is refused, and so is a tier that no rule binds: all of nothing is not true
    2. every rule that binds the tier is evaluated; one that is not known to be true fails
    3. a rule that is false asks for its `otherwise`; one that is unknown asks for a refusal, whatever its `otherwise`
    4. the severest of what was asked for is done; of equals, the first in the policy's order is named
    5. `lock` gives one strike

A rule is unknown when any signal it mentions is missing, NaN, infinite, outside its range or not whole though a count,
even where the expression would be true without it (`signals.a > 0.5 || signals.b > 0.5`): what could not be measured
must not decide by its absence.  It always refuses, and never more.  `degrade` and `escalate` still answer, which is for
queries that were measured and found wanting; and `lock` would punish the caller for a detector that failed, which is
the guard's fault.
"""

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING

from redoubt.monitor.rules import BoundRule, Rules
from redoubt.monitor.standing import is_locked, strike
from redoubt.policy.rules import context_of
from redoubt.records import SIGNALS, Action, Decision, Finding, Standing

if TYPE_CHECKING:
    from cel import Context

_SEVERITY = {action: place for place, action in enumerate(Action)}  # mildest first, as the enumeration has them


def decide(
    rules: Rules, tier_name: str, signals: Mapping[str, float | None], standing: Standing, now: float
) -> tuple[Decision, Standing]:
    """Decide on one query.

    Args:
        rules: in force.
        tier_name: the caller's tier.
        signals: as measured, by name; what the rules do not mention is ignored.
        standing: the account's, before.
        now: seconds since 1970-01-01 UTC.

    Returns:
        The decision, with one finding for each rule that binds the tier, and the standing afterwards: the same object
        unless the action is `LOCK`.

    Raises:
        Fault: `now` is no time.
    """
    if is_locked(standing, now):
        return Decision(action=Action.REFUSE, rule=None, why="this account is locked"), standing
    key = _key(rules.names(tier_name), signals)
    decision = None if key is None else rules.said.get((tier_name, key))
    if decision is None:
        decision = _decided(rules, tier_name, signals)
        if key is not None:
            rules.said.put((tier_name, key), decision)
    return decision, strike(standing, rules.lockout, now) if decision.action is Action.LOCK else standing


def _key(names: tuple[str, ...], signals: Mapping[str, float | None]) -> bytes | None:
    """The bits of the signals' values; None unless all are doubles.  Equal bits make equal decisions."""
    values = [signals.get(name) for name in names]
    return struct.pack(f"{len(values)}d", *values) if all(type(value) is float for value in values) else None


def _decided(rules: Rules, tier_name: str, signals: Mapping[str, float | None]) -> Decision:
    """What the rules say, whoever asks."""
    binding = rules.binding(tier_name)
    if not binding:
        return Decision(action=Action.REFUSE, rule=None, why="no rule admits queries of this tier")
    values = {name: _sound(name, signals.get(name)) for name in rules.signals(tier_name)}
    context = context_of({name: value for name, value in values.items() if value is not None}, tier_name)
    findings = []
    action, decisive = Action.ADMIT, None
    for rule in binding:
        finding = _finding(rule, values, signals, context)
        findings.append(finding)
        asked = Action.ADMIT if finding.holds is True else rule.otherwise if finding.holds is False else Action.REFUSE
        if _SEVERITY[asked] > _SEVERITY[action]:
            action, decisive = asked, finding
    return Decision(
        action=action,
        rule=decisive.rule if decisive else None,
        why=_said(decisive),
        findings=tuple(findings),
    )


def label_alone(rules: Rules, tier_name: str, decision: Decision) -> bool:
    """Whether the answer may show the label alone: a rule that says `degrade` is false, whatever else was decided.

    A query may fail one rule that degrades and another that escalates; the robust model then answers, and its scores
    stay hidden.
    """
    false = {finding.rule for finding in decision.findings if finding.holds is False}
    return any(rule.otherwise is Action.DEGRADE and rule.name in false for rule in rules.binding(tier_name))


def _finding(
    rule: BoundRule, values: Mapping[str, float | None], signals: Mapping[str, float | None], context: "Context"
) -> Finding:
    seen: dict[str, float | None] = {}
    known: dict[str, float] = {}
    for name in rule.compiled.signals:
        seen[name] = value = values[name]
        if value is not None:
            known[name] = value
    holds = rule.compiled.holds(context) if len(known) == len(seen) else None
    why = _unknown(seen, signals) if holds is None else rule.compiled.why(known, holds=holds)
    return Finding(rule=rule.name, text=rule.compiled.text, holds=holds, values=seen, why=why)


def _sound(name: str, value: float | None) -> float | None:
    """The value as a double, if it is one that the signal may take."""
    meaning = SIGNALS[name]
    if not isinstance(value, float | int) or isinstance(value, bool):
        return None
    if not meaning.low <= value <= meaning.high:  # which NaN is not
        return None
    return float(value) if not meaning.whole or value == int(value) else None


def _unknown(seen: Mapping[str, float | None], signals: Mapping[str, float | None]) -> str:
    """Why a rule could not be told."""
    told = [_unsound(name, signals.get(name)) for name, value in seen.items() if value is None]
    return "; ".join(told) or "the rule could not be evaluated"


def _unsound(name: str, value: float | None) -> str:
    meaning = SIGNALS[name]
    if value is None or value != value:
        return f"{name} could not be measured"
    kind = "a whole number" if meaning.whole else "a number"
    given = repr(value) if isinstance(value, float) else f"a {type(value).__name__}"
    return f"{name} was measured as {given}, and is {kind} from {meaning.low:g} to {meaning.high:g}"


def _said(decisive: Finding | None) -> str:
    """What the caller is told: which rule, and not what was measured, which would help to search for its edge."""
    if decisive is None:
        return "every rule holds"
    return f"rule '{decisive.rule}' {'could not be checked' if decisive.holds is None else 'does not hold'}"
