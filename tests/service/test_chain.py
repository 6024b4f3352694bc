"""The nine steps, in their order; each with what it refuses."""

import dataclasses
import json

import numpy as np
import pytest

from guarded import START, ask, body, digits, new_key, opened, request, with_guard
from redoubt.monitor import Rules
from redoubt.records import EndpointError, StorageError
from redoubt.service.chain import Request
from redoubt.service.log import LogReader, parse_entry


@pytest.fixture
def guard(write):
    with opened(with_guard(write())) as opened_guard:
        yield opened_guard


def entries(guard):
    """What the log holds, decisions only."""
    reader = LogReader(guard.log)
    found = [parse_entry(raw) for raw in reader.entries(0, reader.size)]
    return [entry for entry in found if entry.kind == "decision"]


def published(guard):
    guard.checkpoint()
    return entries(guard)


def test_an_admitted_query_gets_its_label_and_a_receipt_of_its_entry(guard):
    x = digits(1)
    status, answer = ask(guard, new_key(guard), x)
    assert status == 200
    assert [output["name"] for output in answer["outputs"]] == ["label"]  # the public tier sees no scores
    assert answer["id"] == "r1"
    assert answer["parameters"]["action"] == "admit"
    (entry,) = published(guard)
    assert entry.action == "admit"
    assert entry.label == answer["outputs"][0]["data"][0]
    assert entry.signals["confidence"] >= 0.3
    assert entry.step == 7


def test_the_receipt_names_the_entry(guard):
    (reply,) = guard.run([request(new_key(guard), digits(1))])
    origin, index, leaf = reply.headers["redoubt-receipt"].split()
    guard.checkpoint()
    from redoubt.ledger import leaf_hash

    assert origin == "digits"
    assert leaf_hash(LogReader(guard.log).entry(int(index))).hex() == leaf


# ── 1 identify ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "credential", [None, "", "Bearer", "Bearer x", "Basic eDp5", "Bearer rdt_aaaaaaaaaaaa_" + "0" * 49]
)
def test_1_nobody_is_served_without_a_key(guard, credential):
    (reply,) = guard.run([request(credential, digits(1))])
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    (entry,) = published(guard)
    assert entry.step == 1
    assert entry.action == "refuse"
    assert entry.account is None
    assert entry.label is None


def test_1_strangers_do_not_fill_the_log_and_are_counted(guard):
    for _ in range(5):
        assert {reply.status for reply in guard.run([request("Bearer nobody", digits(1))] * 40)} == {401}
    assert len(published(guard)) == 10  # a second
    guard.clock.wait(1)
    guard.run([request(None, digits(1))])
    assert published(guard)[-1].detail == {"strangers refused besides": 190}


def test_1_an_auditors_key_may_not_ask_the_model(guard):
    status, answer = ask(guard, new_key(guard, scopes=("auditor",)), digits(1))
    assert status == 403
    assert "outputs" not in answer


def test_1_a_tier_that_left_the_policy_is_refused(guard):
    status, _ = ask(guard, new_key(guard, tier="forgotten"), digits(1))
    assert status == 403


def test_1_a_revoked_key_is_refused_within_seconds(guard):
    key = new_key(guard)
    assert ask(guard, key, digits(1))[0] == 200
    (stored,) = guard.store.keys()
    guard.store.revoke(stored.id, guard.clock.now(), "test")
    guard.clock.wait(3)
    assert ask(guard, key, digits(1, seed=1))[0] == 401


# ── 2 budget ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_2_the_days_budget_counts_inputs_and_not_requests(write):
    with opened(with_guard(write(), per_day=5)) as guard:
        key = new_key(guard)
        assert ask(guard, key, digits(4))[0] == 200
        assert ask(guard, key, digits(4, seed=9))[0] == 429  # 4 + 4 > 5; its first input was charged, and stays so
        status, answer = ask(guard, key, digits(1, seed=3))
        assert status == 429
        assert answer["parameters"]["step"] == 2
        assert ask(guard, new_key(guard), digits(1, seed=4))[0] == 200  # somebody else's budget is their own
        guard.clock.wait(86400)
        assert ask(guard, key, digits(1, seed=5))[0] == 200


def test_2_a_refusal_for_the_budget_says_when_to_come_back(write):
    with opened(with_guard(write(), per_day=1)) as guard:
        key = new_key(guard)
        first, second = guard.run([request(key, digits(1)), request(key, digits(1, seed=1))])
        assert (first.status, second.status) == (200, 429)
        assert 0 < int(second.headers["retry-after"]) <= 86401


# ── 3 sanitise ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b'{"inputs": []}', b'{"inputs": [{"name": "input"}]}', b"[" * 100_000],
)
def test_3_what_is_no_request_never_reaches_the_model(guard, raw):
    (reply,) = guard.run([Request(new_key(guard), "digits", None, raw)])
    assert 400 <= reply.status < 500
    assert "error" in json.loads(reply.body)
    (entry,) = published(guard)
    assert entry.step == 3
    assert entry.label is None


@pytest.mark.parametrize("value", [1.0001, -0.0001, float("nan")])
def test_3_values_outside_the_range_are_refused(guard, value):
    x = digits(1)
    x[0, 0, 3, 3] = value
    (reply,) = guard.run([request(new_key(guard), x)])
    assert reply.status == 400


def test_3_another_model_or_version_is_not_there(guard):
    key, raw = new_key(guard), body(digits(1))
    replies = guard.run(
        [Request(key, "other", None, raw), Request(key, "digits", "2", raw), Request(key, "digits", "1", raw)]
    )
    assert [reply.status for reply in replies] == [404, 404, 200]


# ── 4 recall, 7 decide ───────────────────────────────────────────────────────────────────────────────────────────


def near(x, count):
    """Small steps around one digit, as a black-box attack takes them."""
    noise = np.random.default_rng(5).uniform(-0.02, 0.02, (count, *x.shape[1:])).astype(np.float32)
    return (x + noise).clip(0, 1)


def test_4_near_duplicates_lock_the_account_and_a_lock_ends(guard):
    key, x = new_key(guard), digits(1)
    statuses = [ask(guard, key, row[None])[0] for row in near(x, 12)]
    assert statuses[:3] == [200, 200, 200]
    assert 403 in statuses
    assert statuses[-1] == 429
    assert ask(guard, key, digits(1, seed=8))[0] == 429
    guard.clock.wait(3601)
    assert ask(guard, key, digits(1, seed=8))[0] == 200


def test_4_near_duplicates_spread_over_accounts_are_seen(guard):
    x = digits(1)
    statuses = [ask(guard, new_key(guard), row[None])[0] for row in near(x, 6)]
    assert statuses[:3] == [200, 200, 200]
    assert set(statuses[3:]) == {403}


def test_4_inputs_of_one_request_see_one_another(guard):
    status, answer = ask(guard, new_key(guard), near(digits(1), 8))
    assert status == 403
    assert answer["parameters"]["rule"] == "not probing"


def test_4_the_same_input_again_is_no_probe(guard):
    key, x = new_key(guard), digits(1)
    assert {ask(guard, key, x)[0] for _ in range(12)} == {200}


def test_4_fingerprints_outlive_the_guard(write):
    path, x = with_guard(write()), digits(1)
    with opened(path) as guard:
        assert [ask(guard, new_key(guard), row[None])[0] for row in near(x, 3)] == [200] * 3
    with opened(path) as guard:
        assert ask(guard, new_key(guard), near(x, 4)[3:])[0] == 403


# ── 5 infer, 6 support ───────────────────────────────────────────────────────────────────────────────────────────


def test_5_a_model_that_does_not_answer_is_a_clear_refusal_and_recorded(guard, monkeypatch):
    def gone(x):
        raise EndpointError("nobody there")

    monkeypatch.setattr(guard.chain.book.backend, "infer", gone)
    status, answer = ask(guard, new_key(guard), digits(1))
    assert status == 503
    assert "outputs" not in answer
    (entry,) = published(guard)
    assert entry.step == 5
    assert entry.action == "refuse"
    assert entry.digest is not None


def test_6_a_detector_that_breaks_refuses(guard, monkeypatch):
    def broken(seen):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(type(guard.chain.book.detectors[0]), "look", lambda self, seen: broken(seen))
    status, answer = ask(guard, new_key(guard), digits(1))
    assert status == 403
    assert "could not be checked" in answer["error"]


def test_6_scores_that_are_no_numbers_are_nobodys_answer(guard, monkeypatch):
    from redoubt.service.backends import Inferred

    nan = np.full((1, 10), np.nan, dtype=np.float32)
    monkeypatch.setattr(guard.chain.book.backend, "infer", lambda x: Inferred(nan))
    assert ask(guard, new_key(guard), digits(1))[0] == 403


# ── 7 decide: degrade and escalate ───────────────────────────────────────────────────────────────────────────────

ALWAYS = """\
    - {name: known, rule: "signals.confidence >= 0.01"}
    - {name: certain, rule: "signals.confidence >= 1.0", otherwise: %s, tiers: [trusted]}
"""


def test_7_a_degraded_answer_shows_the_label_alone(write):
    with opened(with_guard(write(), ALWAYS % "degrade")) as guard:
        status, answer = ask(guard, new_key(guard, "trusted"), digits(1))
        assert status == 200
        assert [output["name"] for output in answer["outputs"]] == ["label"]


def test_7_an_escalated_query_is_answered_by_the_robust_model(write):
    path = with_guard(
        write(), ALWAYS % "escalate", extra="  robust: {source: 'torch:planted:reader', weights: reader.safetensors}\n"
    )
    with opened(path) as guard:
        x = digits(3)
        robust = guard.chain.book.robust
        told = {}
        original = robust.infer
        robust.infer = lambda rows: told.setdefault("answer", original(rows))
        status, answer = ask(guard, new_key(guard, "trusted"), x)
        assert status == 200
        assert answer["parameters"]["action"] == "escalate,escalate,escalate"
        assert answer["outputs"][0]["data"] == told["answer"].scores.argmax(axis=1).tolist()


def stricter(policy):
    sure = policy.admit[0].model_copy(update={"rule": "signals.confidence >= 0.9"})
    return policy.model_copy(update={"admit": (sure, *policy.admit[1:])})


def test_7_a_request_is_refused_whole_unless_it_asks_for_parts(guard):
    key, x = new_key(guard, "trusted"), np.concatenate([digits(1), np.full((1, 1, 8, 8), 0.5, dtype=np.float32)])
    guard.chain.swap(dataclasses.replace(guard.chain.book, rules=Rules.of(stricter(guard.chain.book.guard))))
    whole, _ = ask(guard, key, x)
    status, answer = ask(guard, key, x, partial=True)
    assert whole == 403
    assert status == 200
    assert answer["outputs"][0]["data"][0] >= 0
    assert answer["outputs"][0]["data"][1] == -1
    assert answer["parameters"]["action"] == "admit,refuse"


# ── 8 minimise ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_8_a_tier_sees_what_the_policy_shows_it(guard):
    x = digits(2)
    shown = {}
    for tier in ("public", "trusted", "rounded"):
        status, answer = ask(guard, new_key(guard, tier), x)
        assert status == 200
        shown[tier] = {output["name"]: output for output in answer["outputs"]}
    assert set(shown["public"]) == {"label"}
    assert shown["trusted"]["scores"]["shape"] == [2, 10]
    assert np.reshape(shown["trusted"]["scores"]["data"], (2, 10)).sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert set(shown["rounded"]) == {"label", "top_labels", "top_scores"}
    assert all(round(value, 2) == pytest.approx(value, abs=1e-6) for value in shown["rounded"]["top_scores"]["data"])


def test_8_asking_for_scores_does_not_show_them(guard):
    raw = json.loads(body(digits(1))) | {"outputs": [{"name": "scores"}]}
    (reply,) = guard.run([Request(new_key(guard), "digits", None, json.dumps(raw).encode())])
    assert reply.status == 200
    assert json.loads(reply.body)["outputs"] == []


# ── 9 record ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_9_nothing_leaves_that_cannot_be_recorded(guard, monkeypatch):
    def full(entries):
        raise StorageError("the disk is full")

    key = new_key(guard)
    with monkeypatch.context() as patch:
        patch.setattr(guard.chain._log, "append", full)
        status, answer = ask(guard, key, digits(1))
        assert status == 503
        assert "outputs" not in answer
    assert ask(guard, key, digits(1, seed=1))[0] == 200


def test_9_every_request_of_a_batch_has_its_entry_in_order(guard):
    key = new_key(guard)
    mixed = [
        request(key, digits(2)),
        request(None, digits(1)),
        request(key, digits(1, seed=3)),
        request(key, digits(1) * 2),
    ]
    replies = guard.run(mixed)
    assert [len(reply.receipts) for reply in replies] == [2, 1, 1, 1]
    assert [entry.step for entry in published(guard)] == [7, 7, 1, 7, 3]
    assert all(entry.at == int(START * 1000) for entry in entries(guard))


def test_a_store_that_is_gone_refuses_and_the_guard_recovers(guard, monkeypatch):
    def gone(*arguments):
        raise StorageError("no store")

    key = new_key(guard)
    with monkeypatch.context() as patch:
        patch.setattr(guard.store, "turn", gone)
        assert ask(guard, key, digits(1))[0] == 503
    assert ask(guard, key, digits(1, seed=1))[0] == 200


def test_a_clock_set_back_gives_nothing_back(write):
    with opened(with_guard(write(), per_day=1)) as guard:
        key = new_key(guard)
        assert ask(guard, key, digits(1))[0] == 200
        guard.clock._now -= 10 * 86400
        assert ask(guard, key, digits(1, seed=1))[0] == 429


def test_what_another_replica_stored_meanwhile_is_recalled_beside_ones_own(guard, monkeypatch):
    from redoubt.detectors import Fingerprinter
    from redoubt.service.stores.base import Print

    book, key = guard.chain.book, new_key(guard)
    x = digits(1)
    hashes = Fingerprinter(book.guard.detectors.fingerprints, book.face, guard.store.salt()).hashes(x).astype("<u8")
    read = []
    catch_up = type(book.recall).catch_up
    monkeypatch.setattr(type(book.recall), "catch_up", lambda self: read.append(1) or catch_up(self))

    def others(*rows):
        guard.store.add_prints([Print("other", bytes([row]) * 32, hashes.tobytes(), START) for row in rows])

    assert ask(guard, key, digits(9)[8:9])[0] == 200
    assert not read  # its own row need not be read back
    others(1, 2)
    assert ask(guard, key, x)[0] == 200
    assert len(read) == 1
    others(3)
    assert ask(guard, new_key(guard), x)[0] == 403  # not probing together: three of another account
