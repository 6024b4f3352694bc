"""Step 7: nothing is admitted unless every rule is known to be true, whatever else is the case."""

import dataclasses
import math
import statistics
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monitor_rules import NAMES, NOW, OTHERWISE, SOUND, TEXTS, guard_of, obeys_its_rules, rules_of, signals_of

import redoubt.monitor.decision as module
from redoubt.monitor import Rules, decide, label_alone, unlock
from redoubt.records import SIGNALS, Action, Fault, PolicyError, Rule, Standing

FUZZ = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def test_every_combination_of_states_and_consequences_for_one_and_two_rules():
    obeys_its_rules(decide, most=2)


def test_every_combination_of_true_false_and_unknown_for_three_rules(monkeypatch):
    monkeypatch.setattr("monitor_rules.STATES", (True, False, "missing", "nan", "beyond", "error"))
    obeys_its_rules(decide, most=3)


anything = st.one_of(
    st.none(),
    st.floats(),
    st.integers(-3, 30),
    st.sampled_from(
        [0.0, 1.0, 0.5, 24.0, 25.0, math.nan, math.inf, -math.inf, 2.0**53, 10**400, True, "1", b"1", [1.0]]
    ),
)
TEXTS_OF_ALL_KINDS = (
    *TEXTS,
    "signals.credibility > 0.2 || signals.confidence > 0.9",
    "!(signals.similar_queries >= 3 && signals.credibility < 0.9)",
    "tier == 'public' ? signals.models_agree == 1 : signals.shared_hashes < 0.5",
    "signals.squeeze_gap + signals.credibility < 1.5",
    "signals.confidence != 0.5",
)


@settings(FUZZ, max_examples=600)
@given(
    rules=st.lists(
        st.tuples(
            st.sampled_from(TEXTS_OF_ALL_KINDS), st.sampled_from(OTHERWISE), st.sampled_from([None, ("public",)])
        ),
        min_size=1,
        max_size=4,
    ),
    signals=st.fixed_dictionaries({}, optional=dict.fromkeys(SIGNALS, anything)),
    tier=st.sampled_from(["public", "trusted", "unheard-of"]),
    standing=st.builds(Standing, strikes=st.floats(0, 3), struck_at=st.floats(0, 2e9), locked_until=st.floats(0, 2e9)),
)
def test_an_admission_has_every_rule_known_to_be_true(rules, signals, tier, standing):
    policy = [
        Rule(name=f"r{n}", rule=text, otherwise=otherwise, tiers=tiers)
        for n, (text, otherwise, tiers) in enumerate(rules)
    ]
    compiled = Rules.of(guard_of(*policy, tiers=("public", "trusted")))
    decision, after = decide(compiled, tier, signals, standing, NOW)
    binding = [rule for rule in policy if rule.tiers is None or tier in rule.tiers] if tier != "unheard-of" else []
    for finding in decision.findings:
        sound = [
            name
            for name in finding.values
            if isinstance(value := signals.get(name), int | float)
            and not isinstance(value, bool)
            and SIGNALS[name].low <= value <= SIGNALS[name].high
            and (not SIGNALS[name].whole or value == int(value))
        ]
        assert (finding.holds is not None) == (len(sound) == len(finding.values))
        assert {name: value for name, value in finding.values.items() if value is not None} == {
            name: signals[name] for name in sound
        }
        assert finding.why
    if decision.action is Action.ADMIT:
        assert binding
        assert standing.locked_until <= NOW or standing.struck_at > NOW
        assert [finding.rule for finding in decision.findings] == [rule.name for rule in binding]
        assert all(finding.holds is True for finding in decision.findings)
    if any(finding.holds is None for finding in decision.findings):
        assert decision.action in (Action.REFUSE, Action.LOCK)
    if decision.action is Action.LOCK:
        assert after.strikes > 0
    else:
        assert after is standing
    assert type(decision).model_validate(decision.model_dump()) == decision


# ── planted faults: each must be caught by what is asserted above ────────────────────────────────────────────────


def missing_is_fine(rules, tier, signals, standing, now):
    known = {name: SOUND[NAMES.index(name)][True] for name in NAMES} | {
        name: value for name, value in signals.items() if value is not None
    }
    return decide(rules, tier, known, standing, now)


def first_failure_decides(rules, tier, signals, standing, now):
    for n in range(1, len(rules.by_tier[tier]) + 1):
        some = Rules({tier: rules.by_tier[tier][:n]}, rules.lockout)
        found = decide(some, tier, signals, standing, now)
        if found[0].action is not Action.ADMIT:
            break
    return found


def last_of_equals(rules, tier, signals, standing, now):
    turned = Rules({tier: rules.by_tier[tier][::-1]}, rules.lockout)
    decision, after = decide(turned, tier, signals, standing, now)
    return decision.model_copy(update={"findings": decision.findings[::-1]}), after


def unknown_does_what_false_does(rules, tier, signals, standing, now):
    decision, after = decide(rules, tier, signals, standing, now)
    for finding, rule in zip(decision.findings, rules.by_tier[tier], strict=True):
        if finding.holds is None and decision.rule == finding.rule:
            return decision.model_copy(update={"action": rule.otherwise}), after
    return decision, after


def unknown_strikes(rules, tier, signals, standing, now):
    decision, after = decide(rules, tier, signals, standing, now)
    return decision, module.strike(after, rules.lockout, now) if decision.action is Action.REFUSE else after


def never_strikes(rules, tier, signals, standing, now):
    return decide(rules, tier, signals, standing, now)[0], standing


def degrade_is_enough(rules, tier, signals, standing, now):
    decision, after = decide(rules, tier, signals, standing, now)
    escalates = decision.action is Action.ESCALATE
    return decision.model_copy(update={"action": Action.DEGRADE if escalates else decision.action}), after


WRONG = [
    missing_is_fine,
    first_failure_decides,
    last_of_equals,
    unknown_does_what_false_does,
    unknown_strikes,
    never_strikes,
    degrade_is_enough,
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_a_wrong_monitor_is_caught(wrong):
    with pytest.raises(AssertionError):
        obeys_its_rules(wrong, most=2)


WRONG_INSIDE = {
    "NaN is a number": ("_sound", lambda name, value: 1.0 if value is None or value != value else value),
    "ranges are not looked at": (
        "_sound",
        lambda name, value: value if isinstance(value, float) and not math.isnan(value) else None,
    ),
    "severity in alphabetical order": ("_SEVERITY", {a: n for n, a in enumerate(sorted(Action))}),
    "mildest wins": ("_SEVERITY", {a: -n for n, a in enumerate(Action)}),
}


@pytest.mark.parametrize("name", WRONG_INSIDE)
def test_a_fault_inside_the_monitor_is_caught(name, monkeypatch):
    monkeypatch.setattr(module, *WRONG_INSIDE[name])
    with pytest.raises((AssertionError, ValueError)):
        obeys_its_rules(decide, most=2)


# ── what is said ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_decisions_explain_themselves():
    rules = rules_of(("refuse", "lock", "refuse"))
    decision, _ = decide(
        rules, "public", {"credibility": 0.01, "similar_queries": 30.0, "confidence": 0.9}, Standing(), NOW
    )
    assert (decision.action, decision.rule, decision.why) == (Action.LOCK, "r1", "rule 'r1' does not hold")
    assert [finding.why for finding in decision.findings] == [
        "credibility is 0.01, must be >= 0.5",
        "similar_queries is 30, must be < 25",
        "confidence is 0.9, must be > 0.5",
    ]
    assert [finding.holds for finding in decision.findings] == [False, False, True]
    assert decision.findings[1].text == TEXTS[1]
    assert decision.findings[1].values == {"similar_queries": 30.0}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "similar_queries could not be measured"),
        (math.nan, "similar_queries could not be measured"),
        (math.inf, "similar_queries was measured as inf, and is a whole number from 0 to 9.0072e+15"),
        (-1.0, "similar_queries was measured as -1.0, and is a whole number"),
        (2.5, "similar_queries was measured as 2.5, and is a whole number"),
        (True, "similar_queries was measured as a bool, and is a whole number"),
        ("3", "similar_queries was measured as a str, and is a whole number"),
    ],
)
def test_what_could_not_be_measured_is_said(value, says):
    decision, after = decide(
        rules_of(("refuse", "lock")), "public", {"credibility": 1.0, "similar_queries": value}, Standing(), NOW
    )
    assert decision.why == "rule 'r1' could not be checked"
    assert says in decision.findings[1].why
    assert decision.findings[1].values == {"similar_queries": None}
    assert after == Standing()


def test_a_caller_is_told_the_rule_and_not_the_measurement():
    for states in ((False, True, True), (True, False, "nan"), ("missing", True, True)):
        decision, _ = decide(rules_of(("refuse",) * 3), "public", signals_of(states), Standing(), NOW)
        assert not any(name in decision.why or "0." in decision.why for name in NAMES)


def test_the_library_s_errors_are_unknown_and_said():
    decision, after = decide(rules_of(("lock",), ("error",)), "public", {"credibility": 1.0}, Standing(), NOW)
    assert (decision.action, decision.findings[0].why) == (Action.REFUSE, "the rule could not be evaluated")
    assert after == Standing()


# ── tiers and locks ──────────────────────────────────────────────────────────────────────────────────────────────


def tiered():
    return guard_of(
        Rule(name="all", rule=TEXTS[0]),
        Rule(name="some", rule="signals.credibility > 0.1 && signals.confidence > 0.5", tiers=("trusted",)),
        tiers=("public", "trusted"),
    )


def test_signals_are_those_of_the_rules_that_bind_the_tier():
    rules = Rules.of(tiered())
    assert rules.signals("public") == {"credibility"}
    assert rules.signals("trusted") == {"credibility", "confidence"}
    assert rules.signals("unheard-of") == frozenset()
    assert [rule.name for rule in rules.binding("trusted")] == ["all", "some"]


def test_a_tier_that_no_rule_binds_is_refused():
    guard = guard_of(Rule(name="some", rule=TEXTS[0], tiers=("trusted",)), tiers=("public", "trusted"))
    for tier in ("public", "unheard-of"):
        decision, after = decide(Rules.of(guard), tier, {"credibility": 1.0}, Standing(), NOW)
        assert (decision.action, decision.rule, decision.findings) == (Action.REFUSE, None, ())
        assert after == Standing()
    assert decide(Rules.of(guard), "trusted", {"credibility": 1.0}, Standing(), NOW)[0].action is Action.ADMIT


def test_a_locked_account_is_refused_before_the_rules_and_gets_no_further_strike():
    rules = rules_of(("lock",))
    _, locked = decide(rules, "public", {"credibility": 0.0}, Standing(), NOW)
    assert locked.locked_until == NOW + 3600
    for value in (0.0, 1.0):
        decision, after = decide(rules, "public", {"credibility": value}, locked, NOW + 3599.9)
        assert (decision.action, decision.rule, decision.why) == (Action.REFUSE, None, "this account is locked")
        assert after is locked
    assert decide(rules, "public", {"credibility": 1.0}, locked, NOW + 3600)[0].action is Action.ADMIT
    assert decide(rules, "public", {"credibility": 1.0}, unlock(locked, NOW), NOW)[0].action is Action.ADMIT


def test_scores_stay_hidden_when_a_rule_degrades_and_another_escalates():
    rules = rules_of(("degrade", "escalate"))
    for states, action, alone in (
        ((False, False), Action.ESCALATE, True),
        ((True, False), Action.ESCALATE, False),
        ((False, True), Action.DEGRADE, True),
        ((True, True), Action.ADMIT, False),
    ):
        decision, _ = decide(rules, "public", signals_of(states), Standing(), NOW)
        assert (decision.action, label_alone(rules, "public", decision)) == (action, alone)


def test_a_rule_that_is_none_is_refused_when_compiled():
    with pytest.raises(PolicyError, match="unknown signal"):
        Rules.of(guard_of(Rule(name="a", rule="signals.credibilty > 0.5")))


@pytest.mark.parametrize("now", [math.nan, math.inf, -1.0])
def test_what_is_no_time_is_a_fault(now):
    with pytest.raises(Fault, match="no time"):
        decide(rules_of(("lock",)), "public", {"credibility": 1.0}, Standing(), now)


def test_rules_cannot_be_changed():
    rules = Rules.of(tiered())
    with pytest.raises(TypeError):
        rules.by_tier["public"] = ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        rules.lockout = None


def test_three_rules_take_microseconds():
    rules, standing = rules_of(("refuse", "lock", "refuse")), Standing()
    signals = {"credibility": 0.9, "similar_queries": 3.0, "confidence": 0.9}
    took = []
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(200):
            decide(rules, "public", signals, standing, NOW)
        took.append((time.perf_counter() - started) / 200)
    assert statistics.median(took) < 200e-6  # about 20 us on a quiet machine


def one_rule(text):
    return Rules.of(guard_of(Rule(name="r", rule=text, otherwise="refuse")))


def test_what_was_said_before_is_said_again_and_only_of_the_same_bits():
    rules = one_rule("signals.credibility + signals.squeeze_gap >= 1.0")
    one = {"credibility": 0.5, "squeeze_gap": 1.0}
    first, _ = decide(rules, "public", one, Standing(), NOW)
    again, _ = decide(rules, "public", dict(one), Standing(), NOW)
    assert again is first
    assert first.action is Action.ADMIT
    for otherwise in ({**one, "squeeze_gap": True}, {**one, "squeeze_gap": None}, {**one, "credibility": math.nan}):
        assert decide(rules, "public", otherwise, Standing(), NOW)[0].action is Action.REFUSE
    zero, minus = ({"credibility": 1.0, "squeeze_gap": value} for value in (0.0, -0.0))
    assert decide(rules, "public", zero, Standing(), NOW)[0] is not decide(rules, "public", minus, Standing(), NOW)[0]
    locked = Standing(locked_until=NOW + 1)
    assert decide(rules, "public", one, locked, NOW)[0].why == "this account is locked"


def test_what_was_said_is_forgotten_before_it_fills_the_memory():
    rules = one_rule("signals.confidence >= 0.5")
    for value in range(9000):
        decide(rules, "public", {"confidence": value / 9000}, Standing(), NOW)
    assert 0 < len(rules.said) <= 4096
