"""What no single key of `guard` can tell: rules that compile, tiers that are bound, signals that can be measured."""

import math
from collections.abc import Iterator

from redoubt.policy.guard_places import check_keys, check_log, check_token_key, check_witness
from redoubt.policy.problems import Wrong, did_you_mean, nearest
from redoubt.policy.rules import CompiledRule, compile_rule
from redoubt.policy.sources import check_scheme, check_weights, scheme_of
from redoubt.records import SIGNALS, Guard, Policy, PolicyError
from redoubt.records.guard import SecondModel

_LAYERED = ("torch", "onnx")
_OF_ALL = ("similar_queries_all", "shared_hashes")

_KEPT_VALUES = 11_000  # of 4 bytes, in base64, with room for the rest in an entry's 65,535 bytes


def check_guard(policy: Policy) -> Iterator[Wrong]:
    """Everything about a well-formed guard that cannot be meant."""
    guard = policy.guard
    if guard is None:
        return
    for path, what, remedy in _wrongs(policy, guard):
        yield ("guard", *path), what, remedy


def _wrongs(policy: Policy, guard: Guard) -> Iterator[Wrong]:
    yield from _identify(guard)
    yield from _tiers(policy, guard)
    yield from _rules(policy, guard)
    yield from _models(guard)
    yield from _record(policy, guard)


# ── 1 identify ───────────────────────────────────────────────────────────────────────────────────────────────────


def _identify(guard: Guard) -> Iterator[Wrong]:
    found = check_keys(guard.identify.keys, guard.record.log)
    if found:
        yield ("identify", "keys"), *found
    tokens = guard.identify.tokens
    if tokens is None:
        return
    found = check_token_key(tokens.public_key)
    if found:
        yield ("identify", "tokens", "public_key"), *found
    for key in ("issuer", "audience", "account", "tier"):
        if not getattr(tokens, key).strip():
            yield ("identify", "tokens", key), f"{key} is empty", "write what the provider's tokens carry"


# ── 2 budget, 8 minimise ─────────────────────────────────────────────────────────────────────────────────────────


def _tiers(policy: Policy, guard: Guard) -> Iterator[Wrong]:
    for name, tier in guard.tiers.items():
        here = ("tiers", name)
        for key, value in (("top", tier.top), ("decimals", tier.decimals)):
            if value is not None and tier.observes == "label":
                yield (*here, key), f"{key} is about scores, and tier '{name}' sees the label alone", f"remove '{key}'"
        if tier.top is not None and tier.top > policy.model.classes:
            yield (
                (*here, "top"),
                f"top {tier.top} of {policy.model.classes} classes",
                f"write at most {policy.model.classes}, or remove 'top' to show all scores",
            )
        if not any(rule.tiers is None or name in rule.tiers for rule in guard.admit):
            yield (
                here,
                f"no rule under admit binds tier '{name}': all of nothing is not true, so all its queries are refused",
                f"add '{name}' to the tiers of a rule, or a rule without tiers, which binds all",
            )


# ── 7 decide ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _rules(policy: Policy, guard: Guard) -> Iterator[Wrong]:
    checked: set[str] = set()
    for index, rule in enumerate(guard.admit):
        here = ("admit", index)
        if not rule.name.isprintable() or rule.name != rule.name.strip():
            yield (*here, "name"), "a rule's name is one line of text", "write it on one line, without blanks around it"
        bound = [tier for tier in guard.tiers if rule.tiers is None or tier in rule.tiers]
        blind = [tier for tier in bound if guard.tiers[tier].observes == "label"]
        robust = [tier for tier in bound if guard.tiers[tier].model == "robust"]
        if rule.otherwise == "degrade" and blind:
            yield (
                (*here, "otherwise"),
                f"tier '{blind[0]}' sees the label alone anyway, so degrade would let through what the rule forbids",
                "write refuse, or bind the rule by tiers: […] to those that observe scores",
            )
        if rule.otherwise == "escalate" and robust:
            yield (
                (*here, "otherwise"),
                f"the robust model answers tier '{robust[0]}' anyway, so escalate would let through what the rule "
                "forbids",
                "write refuse, or bind the rule by tiers: […] to those that the default model answers",
            )
        try:
            compiled = compile_rule(rule.rule)
        except PolicyError as error:
            yield (*here, "rule"), error.what, error.remedy
            continue
        again = [signal for signal in compiled.signals if signal in ("squeeze_gap", "overlay_entropy")]
        if again and robust:
            yield (
                (*here, "rule"),
                f"{again[0]} asks the policy's model, and the robust model answers tier '{robust[0]}'",
                "bind the rule by tiers: […] to those that the default model answers",
            )
        others = [signal for signal in compiled.signals if signal in _OF_ALL]
        if rule.otherwise == "lock" and others:
            yield (
                (*here, "otherwise"),
                f"{others[0]} counts what all accounts sent, so an innocent one would be locked for what others did",
                "write refuse here, and lock on similar_queries in a rule of its own",
            )
        yield from _tiers_named(index, compiled, guard)
        for signal in compiled.signals:
            if signal not in checked:
                checked.add(signal)
                for path, what, remedy in _signal(signal, policy, guard):
                    yield path or (*here, "rule"), what, remedy


def _tiers_named(index: int, compiled: CompiledRule, guard: Guard) -> Iterator[Wrong]:
    for name in sorted(compiled.tiers - guard.tiers.keys()):
        meant = nearest(name, guard.tiers)
        yield (
            ("admit", index, "rule"),
            f"the rule names tier '{name}'{did_you_mean(name, list(guard.tiers))}",
            f"write '{meant}'" if meant else f"add '{name}' under tiers",
        )


def _signal(signal: str, policy: Policy, guard: Guard) -> Iterator[Wrong]:
    """What stands against measuring a signal; an empty path is that of the rule that mentions it."""
    match SIGNALS[signal].detector:
        case "fingerprints":
            yield from _fingerprints(policy, guard)
        case "deep_knn":
            yield from _deep_knn(signal, policy, guard)
        case "squeezing":
            yield from _squeezing(policy, guard)
        case "strip" if policy.data.train is None:
            yield (
                (),
                f"signal '{signal}' lays training inputs over the query, and data has no 'train'",
                "add train under data, of inputs that you trust, or use another signal",
            )
        case "second_model" if guard.detectors.second_model is None:
            yield (
                (),
                f"signal '{signal}' needs another model to compare with, and guard.detectors has no second_model",
                "add second_model: {source: …, weights: …} under guard.detectors",
            )


def _fingerprints(policy: Policy, guard: Guard) -> Iterator[Wrong]:
    window, values = guard.detectors.fingerprints.window, math.prod(policy.model.input.shape)
    if window is not None and window > values:
        yield (
            _setting(guard, "fingerprints", "window"),
            f"a window of {window} values does not fit into an input of {values}",
            f"write fingerprints: {{window: {values}}} or less under guard.detectors",
        )


def _deep_knn(signal: str, policy: Policy, guard: Guard) -> Iterator[Wrong]:
    train, knn, scheme = policy.data.train, guard.detectors.deep_knn, scheme_of(policy.model.source)
    if scheme not in _LAYERED:
        yield (
            (),
            f"signal '{signal}' compares outputs of the model's layers, and a source of {scheme}: shows none",
            "give the model itself as torch: or onnx:, or use another signal",
        )
    if train is None:
        yield (
            (),
            f"signal '{signal}' compares with the training data, and data has no 'train'",
            "add train under data, or use another signal",
        )
    elif train.take is not None and train.take < knn.calibration + knn.neighbours:
        yield (
            _setting(guard, "deep_knn", "calibration"),
            f"{knn.calibration:,} examples to calibrate on leave fewer than {knn.neighbours:,} neighbours of the "
            f"{train.take:,} that data.train takes",
            "take more, or write a smaller calibration under guard.detectors.deep_knn",
        )


def _squeezing(policy: Policy, guard: Guard) -> Iterator[Wrong]:
    median, shape = guard.detectors.squeezing.median, policy.model.input.shape
    if len(shape) != 3 and median > 1:
        yield (
            _setting(guard, "squeezing", "median"),
            f"a median filter needs images [channels, height, width]; the inputs are {list(shape)}",
            "write squeezing: {median: 1} under guard.detectors, which leaves the filter out",
        )
    elif len(shape) == 3 and median > min(shape[1:]):
        yield (
            _setting(guard, "squeezing", "median"),
            f"a median filter of {median} pixels is larger than an image of {shape[1]} x {shape[2]}",
            f"write squeezing: {{median: {min(shape[1:])}}} or less under guard.detectors",
        )


def _setting(guard: Guard, detector: str, key: str) -> tuple[str, ...]:
    """The path of a detector's setting, if it is written in the file."""
    written = (
        detector in guard.detectors.model_fields_set and key in getattr(guard.detectors, detector).model_fields_set
    )
    return ("detectors", detector, key) if written else ()


# ── 5 infer ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _models(guard: Guard) -> Iterator[Wrong]:
    places: list[tuple[tuple[str, ...], SecondModel | None]] = [
        (("detectors", "second_model"), guard.detectors.second_model),
        (("robust",), guard.robust),
    ]
    for path, model in places:
        if model is None:
            continue
        found = check_scheme(model.source, "model")
        if found:
            yield (*path, "source"), *found
            continue
        found = check_weights(model.weights, model.source) if model.weights is not None else None
        if found:
            yield (*path, "weights"), *found


# ── 9 record ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _record(policy: Policy, guard: Guard) -> Iterator[Wrong]:
    record = guard.record
    values = math.prod(policy.model.input.shape)
    if "input" in record.keep and values > _KEPT_VALUES:
        yield (
            ("record", "keep", record.keep.index("input")),
            f"an input of {values:,} values does not fit into an entry of the log, which takes {_KEPT_VALUES:,}",
            "remove input; its digest and fingerprint are kept anyway",
        )
    found = check_log(record.log)
    if found:
        yield ("record", "log"), *found
    for index, kept in enumerate(record.keep):
        if kept in record.keep[:index]:
            yield ("record", "keep", index), f"'{kept}' is kept twice", "remove one of them"
    if "decision" not in record.keep:
        yield (
            ("record", "keep"),
            "the decision is not kept, and a log without decisions shows nothing of what the guard did",
            "add decision to keep",
        )
    names: list[str] = []
    for index, witness in enumerate(record.witnesses):
        found = check_witness(witness)
        if found:
            yield ("record", "witnesses", index), *found
        name = witness.partition("+")[0]
        if name in names:
            yield ("record", "witnesses", index), f"witness '{name[:60]}' is named twice", "remove one of them"
        names.append(name)
