"""Signals against bounds: what each rule said of a query, from the signals that the log kept."""

from dataclasses import dataclass

from redoubt.monitor import Rules, decide
from redoubt.policy.expressions import Comparison
from redoubt.policy.rules import number
from redoubt.records import SIGNALS, Guard, LogEntry, RedoubtError, Standing

_DIGITS = 6
_HIGH = 2.0  # greater than that is no range, but room for a count


@dataclass(frozen=True)
class Measured:
    """One signal beside one bound.

    Attributes:
        signal, says: its name, and what it means.
        value, bound: as text; `bound` is empty where the rule is no plain comparison.
        share, mark: where value and bound stand on the signal's scale, 0 to 100; None where there is none.
    """

    signal: str
    says: str
    value: str
    bound: str = ""
    share: float | None = None
    mark: float | None = None


@dataclass(frozen=True)
class Checked:
    """What one rule said.

    Attributes:
        name, text, otherwise, why: of the rule, and of what was found.
        holds: None when it could not be told.
        measured: the signals that it mentions.
    """

    name: str
    text: str
    otherwise: str
    holds: bool | None
    why: str
    measured: list[Measured]


@dataclass(frozen=True)
class Replayed:
    """The rules, applied once more.

    Attributes:
        rules: in the policy's order.
        others: signals that no rule mentions, with their values.
        same: whether the rules come to what the log says.
        action: what they come to.
    """

    rules: list[Checked]
    others: list[tuple[str, str]]
    same: bool
    action: str


def replay(entry: LogEntry, guard: Guard) -> Replayed | None:
    """Decide again on an entry's signals, by the rules of its time; None if no rules of its tier can be had."""
    signals, tier = entry.signals or {}, entry.tier or ""
    try:
        rules = Rules.of(guard)
        decision, _ = decide(rules, tier, signals, Standing(), entry.at / 1000)
    except RedoubtError:
        return None
    checked = []
    for rule, finding in zip(rules.binding(tier), decision.findings, strict=True):
        bounded = [_bounded(each, finding.values[each.signal]) for each in rule.compiled.comparisons]
        plain = [Measured(name, SIGNALS[name].says, _text(value)) for name, value in finding.values.items()]
        checked.append(
            Checked(finding.rule, finding.text, str(rule.otherwise), finding.holds, finding.why, bounded or plain)
        )
    mentioned = rules.signals(tier)
    others = [(name, _text(value)) for name, value in signals.items() if name not in mentioned]
    same = decision.action == entry.action and decision.rule == entry.rule
    return Replayed(checked, others, same, str(decision.action))


def _bounded(comparison: Comparison, value: float | None) -> Measured:
    meaning, bound = SIGNALS[comparison.signal], comparison.bound
    told = f"{comparison.sense} {number(bound)}"
    if value is None:
        return Measured(comparison.signal, meaning.says, _text(value), told)
    # a signal without a top of its own is drawn on a scale on which value and bound both fit
    top = meaning.high if meaning.high <= _HIGH else max(value, bound, 1.0) * 1.25
    share, mark = (100 * (each - meaning.low) / (top - meaning.low) for each in (value, bound))
    return Measured(comparison.signal, meaning.says, _text(value), told, _within(share), _within(mark))


def _within(share: float) -> float:
    return round(min(100.0, max(0.0, share)), 2)


def _text(value: float | None) -> str:
    if value is None:
        return "not measured"
    return number(value) if value.is_integer() else f"{value:.{_DIGITS}g}"
