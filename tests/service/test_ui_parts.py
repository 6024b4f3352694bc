"""Parts of the dashboard: the table of sessions, the hours, rules applied once more, proofs laid out, pictures."""

import base64
import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard import GUARD
from digits import NOISE, POLICY
from redoubt.ledger import Signer
from redoubt.models import Face
from redoubt.records import LogEntry, PolicyError
from redoubt.service.log import Log, LogReader, entry_bytes, verifier_file
from redoubt.service.stores.base import Version
from redoubt.service.ui.entrance.sessions import LASTS, Sessions
from redoubt.service.ui.proofs.health import HOURS, by_hour
from redoubt.service.ui.proofs.proving import show_proof
from redoubt.service.ui.proofs.reading import open_log
from redoubt.service.ui.views.picture import draw, kept_input
from redoubt.service.ui.views.policies import guard_in, version_at
from redoubt.service.ui.views.signals import replay
from redoubt.service.ui.views.versions import choose, difference

TEXT = POLICY.format(model="reader", requirements=NOISE, take=80, passes=2000) + GUARD.format(
    keep="decision, signals", witnesses=""
)


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_account_has_eight_sessions_and_all_have_256():
    sessions = Sessions(lambda: 0.0)
    own = [sessions.open("ann") for _ in range(9)]
    assert sessions.find(own[0]) is None
    assert all(sessions.find(identity) for identity in own[1:])
    others = [sessions.open(f"account {at}") for at in range(256)]
    assert not any(sessions.find(identity) for identity in own)
    assert all(sessions.find(identity) for identity in others)


def test_sessions_that_have_ended_make_room_first():
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    sessions.open("early")
    now[0] = LASTS
    kept = [sessions.open(f"account {at}") for at in range(256)]
    assert all(sessions.find(identity) for identity in kept)


def test_ids_are_not_kept_and_tokens_are_their_own():
    sessions = Sessions(lambda: 0.0)
    one, two = sessions.open("ann"), sessions.open("ann")
    assert one not in repr(sessions.__dict__)
    assert sessions.fits(one, sessions.token(one))
    assert not sessions.fits(one, sessions.token(two))
    assert not sessions.fits(one, "")
    assert not sessions.fits(one, "ü" * 64)


# ── hours ────────────────────────────────────────────────────────────────────────────────────────────────────────


class FakeReader:
    """Entries of given times."""

    def __init__(self, times, late=()):
        self.size, self._times, self._late = len(times), times, late

    def entry(self, index):
        return entry_bytes(LogEntry(kind="key" if index in self._late else "start", at=self._times[index]))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 30 * 3600 * 1000), max_size=60), st.integers(26 * 3600, 30 * 3600))
def test_hours_are_counted_as_one_would_by_hand(times, now):
    times = sorted(min(time, now * 1000) for time in times)
    counted = Counter(time // 3_600_000 for time in times)
    hours = by_hour(FakeReader(times), float(now))
    assert len(hours) == HOURS
    assert [hour.entries for hour in hours] == [counted[int(hour.begins // 3600)] for hour in hours]
    assert hours[-1].begins <= now < hours[-1].begins + 3600


def test_events_that_were_written_late_hide_no_hour():
    hour = 3_600_000
    times = [25 * hour] * 5 + [0] * 3 + [26 * hour] * 2 + [7]
    counts = [each.entries for each in by_hour(FakeReader(times, late={5, 6, 7, 10}), 26.5 * 3600)]
    assert counts == [0] * 22 + [8, 3]


# ── rules, applied once more ─────────────────────────────────────────────────────────────────────────────────────

GOOD = {"confidence": 0.9, "credibility": 0.5, "similar_queries": 0.0}


def decision(action="admit", rule=None, **signals):
    return LogEntry(
        kind="decision", at=5, tier="public", step=7, action=action, rule=rule, why="", signals=GOOD | signals
    )


def test_an_entry_is_decided_again_from_its_signals():
    guard = guard_in(TEXT)
    assert replay(decision(), guard).same
    locked = replay(decision("lock", "not probing", similar_queries=3.0), guard)
    assert (locked.same, locked.action) == (True, "lock")
    assert [rule.holds for rule in locked.rules] == [True, True, False]
    unknown = replay(decision("refuse", "supported", credibility=None), guard)
    assert (unknown.same, unknown.rules[1].holds) == (True, None)


@pytest.mark.parametrize(
    "entry",
    [
        decision("refuse"),
        decision("lock", "not probing"),
        decision("admit", confidence=0.1),
        decision("refuse", "supported", confidence=0.1),
    ],
)
def test_an_entry_that_says_otherwise_than_its_signals_is_noticed(entry):
    assert not replay(entry, guard_in(TEXT)).same


def test_values_and_bounds_stand_where_they_belong():
    rules = replay(decision(credibility=0.25, similar_queries=8.0), guard_in(TEXT)).rules
    low, high = rules[1].measured
    assert (low.bound, low.share, low.mark) == (">= 0.02", 25.0, 2.0)
    assert (high.bound, high.mark) == ("<= 1", 100.0)
    (count,) = rules[2].measured
    assert (count.share, count.mark) == (80.0, 30.0)


def test_the_version_is_the_one_that_was_in_force_then():
    versions = [Version(n, digest, TEXT, at, "x", n == 3) for n, digest, at in ((1, "a", 1), (2, "b", 2), (3, "a", 3))]
    assert version_at(versions, "a", 2.5).number == 1
    assert version_at(versions, "a", 3.5).number == 3
    assert version_at(versions, "a", 0.5).number == 1
    assert version_at(versions, "c", 2.5) is None
    assert guard_in("redoubt: 7") is None


def test_a_difference_names_what_went_and_what_came():
    before, after = (
        Version(n, "d", TEXT.replace("0.3", value), 1.0, "x", False) for n, value in ((1, "0.3"), (2, "0.4"))
    )
    lines = difference(before, after)
    assert [line.kind for line in lines if line.kind in "+-"] == ["-", "+"]
    assert all(line.kind == "+" for line in difference(None, after)[1:])
    assert difference(before, before) == []
    assert len(difference(None, Version(1, "d", "x\n" * 4000, 1.0, "x", False))) == 401
    assert len(difference(None, Version(1, "d", "x\n" * 6000, 1.0, "x", False))) == 1
    with pytest.raises(PolicyError):
        choose([before], "٣")


# ── proofs ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log") / "audit"
    signer = Signer("digits", b"s" * 32)
    with Log.open(folder, "digits", signer) as opened:
        opened.append([entry_bytes(LogEntry(kind="start", at=at)) for at in range(300)])
        opened.checkpoint()
    verifier_file(folder).write_text(f"{signer.verifier}\n")
    return folder


@pytest.mark.parametrize("index", [0, 1, 127, 255, 256, 298, 299])
def test_a_proof_is_laid_out_up_to_the_root(log, index):
    shown = show_proof(open_log(log), index)
    assert shown.wrong == ""
    assert shown.climbs[-1].node == shown.root == LogReader(log).checkpoint.root.hex()
    assert hashlib.sha256(b"\0" + shown.text.encode()).hexdigest() == shown.leaf
    hashes = [climb.sibling for climb in shown.climbs]
    assert hashes == [each.hex() for each in LogReader(log).proof(index).hashes]


# ── inputs ───────────────────────────────────────────────────────────────────────────────────────────────────────

FACE = Face((1, 2, 2), 0.0, 1.0, 2)
RAW = np.array([0, 0.25, 0.5, 1], dtype="<f4").tobytes()
DIGEST = f"sha256:{hashlib.sha256(RAW).hexdigest()}"


def keeps(raw=RAW, digest=DIGEST, text=None):
    return LogEntry(kind="decision", at=1, input=text or base64.b64encode(raw).decode(), digest=digest)


def test_a_kept_input_is_drawn():
    x = kept_input(keeps(), FACE)
    assert x.tolist() == [[[0, 0.25], [0.5, 1]]]
    assert draw(x, FACE).source.startswith("data:image/png;base64,")
    flat = draw(x.reshape(4), Face((4,), 0.0, 1.0, 2))
    assert (flat.source, flat.values) == ("", ["0", "0.25", "0.5", "1"])
    assert kept_input(keeps(digest=None), FACE) is not None


@pytest.mark.parametrize(
    "entry",
    [
        keeps(text="no base64!"),
        keeps(digest="sha256:" + "0" * 64),
        keeps(RAW[:-4], None),
        keeps(RAW + b"1234", None),
        keeps(np.array([0, np.nan, 0, 0], dtype="<f4").tobytes(), None),
        LogEntry(kind="decision", at=1),
    ],
)
def test_what_is_no_such_input_is_not_drawn(entry):
    assert kept_input(entry, FACE) is None
