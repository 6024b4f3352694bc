"""The parts of the analysers against their slow twins, their tests against true and false hypotheses."""

import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audited import Auditee, parts, search
from redoubt.detectors.fingerprints import NOTHING
from redoubt.policy import read_policy
from redoubt.records import LogEntry
from redoubt.service.analyse import Drift, Extraction, Membership, Reconnaissance, Row, analyse, read_reference
from redoubt.service.analyse.analysers.membership import TrainingPoints
from redoubt.service.analyse.honest import above
from redoubt.service.analyse.memory.accounts import Accounts
from redoubt.service.analyse.memory.coverage import SAMPLED, Coverage, coverage_of
from redoubt.service.analyse.memory.prints import Prints
from redoubt.service.analyse.memory.sample import Sample
from redoubt.service.analyse.reference import Points
from redoubt.service.analyse.statistics.distances import log_abnormality, nearest_same_label
from redoubt.service.analyse.statistics.significance import at_least, counts_shift, highest_chance, holm, values_shift
from redoubt.service.log import LogReader, entry_bytes

# ── significance ─────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_the_step_down_of_its_definition(p):
    order = sorted(p)
    steps = [min(1.0, value * (len(p) - i)) for i, value in enumerate(order)]
    expected = {value: max(steps[: order.index(value) + order.count(value)]) for value in p}
    assert holm(p) == pytest.approx([expected[value] for value in p])
    assert all(more >= one for one, more in zip(holm(p), holm(p, 2 * len(p)), strict=True))


def clustered(rng, accounts, each, shares):
    """Customers who each prefer some labels: entries of one account are alike."""
    return np.array([rng.multinomial(each, rng.dirichlet(20 * shares)) for _ in range(accounts)])


def test_counts_that_are_clustered_by_account_are_a_shift_only_if_they_are_one():
    rng, shares = np.random.default_rng(0), np.array([0.3, 0.3, 0.2, 0.2])
    same = [counts_shift(clustered(rng, 20, 50, shares), clustered(rng, 20, 50, shares)).p for _ in range(400)]
    assert np.mean(np.array(same) <= 0.05) <= 0.08
    assert np.mean(np.array(same) <= 0.5) >= 0.3  # nor does it never reject
    moved = np.array([0.45, 0.15, 0.2, 0.2])
    other = [counts_shift(clustered(rng, 20, 50, shares), clustered(rng, 20, 50, moved)).p for _ in range(100)]
    assert np.mean(np.array(other) <= 0.05) >= 0.8


def test_values_that_are_clustered_by_account_are_a_shift_only_if_they_are_one():
    rng = np.random.default_rng(0)
    accounts = np.repeat(np.arange(20), 50)

    def values(shift):
        return rng.normal(shift, 1, 1000) + np.repeat(rng.normal(0, 0.4, 20), 50)

    same = [values_shift(values(0), values(0), accounts, accounts).p for _ in range(300)]
    assert np.mean(np.array(same) <= 0.05) <= 0.08
    assert np.mean([values_shift(values(0), values(0.8), accounts, accounts).p <= 0.05 for _ in range(100)]) >= 0.8


def test_binomial_bounds_hold_at_their_edges():
    assert at_least(0, 10, 0.1) == 1
    assert at_least(10, 10, 0.5) == pytest.approx(0.5**10)
    assert highest_chance(10, 10) == 1
    assert at_least(4, 100, highest_chance(3, 100)) > 0.98  # so many or more are near certain at the upper end
    assert highest_chance(0, 600) == pytest.approx(1 - 0.01 ** (1 / 600))


def test_above_gives_the_stated_rate_of_false_alarms():
    rng = np.random.default_rng(0)
    p = np.array([above(rng.normal(size=60), float(rng.normal())) for _ in range(4000)])
    assert 0.03 <= np.mean(p <= 0.05) <= 0.07
    assert above(rng.normal(size=60), 8.0) < 1e-8


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_coverage_counted_one_by_one_is_that_counted_at_once_and_near_the_truth():
    rng = np.random.default_rng(0)
    prints = np.array([np.sort(rng.choice(20_000, 48, replace=False)) for _ in range(400)]).astype(np.uint64)
    coverage = Coverage()
    for hashes in prints:
        coverage.add(hashes)
        assert len(coverage._counts) <= SAMPLED
    truth = len(np.unique(prints)) / prints.size
    assert coverage.share == coverage_of(prints)
    assert coverage.share == pytest.approx(truth, abs=0.03)
    assert abs(coverage.share - 2 / 3 * truth) > 0.1


def test_prints_finds_what_comparing_all_finds():
    rng = np.random.default_rng(1)
    base = rng.integers(0, 2**60, (20, 48), dtype=np.uint64)
    memory, known, right = Prints(50, 0.5), [], 0
    for i in range(300):
        hashes = base[rng.integers(20)].copy()
        moved = rng.choice(48, rng.integers(0, 48), replace=False)
        hashes[moved] = rng.integers(0, 2**60, len(moved), dtype=np.uint64)
        hashes.sort()
        truth = {at for at, other in known[-50:] if np.intersect1d(hashes, other).size >= 24}
        found = set(memory.alike_to(hashes))
        assert found <= truth
        right += bool(found) == bool(truth)
        memory.add(hashes, i)
        known.append((i, hashes))
    assert len(memory) == 50
    assert right >= 285


def test_accounts_that_make_room_are_judged_by_what_they_did():
    closed = []
    accounts = Accounts(3, lambda name: [name], closed.append)
    accounts.of("a").append(1)
    for name in "bcad":
        accounts.of(name)
    assert closed == [["b"]]
    accounts.close_all()
    assert closed == [["b"], ["c"], ["a", 1], ["d"]]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 1), max_size=60))
def test_a_merged_sample_is_that_of_all(sides):
    one, two, both = Sample(), Sample(), Sample()
    for index, side in enumerate(sides):
        (two if side else one).add(index)
        both.add(index)
    one.merge(two)
    assert one.of == both.of
    assert set(one.entries) <= set(range(len(sides)))
    assert one.entries[:3] == both.entries[:3]
    assert one.entries[-3:] == both.entries[-3:]


def test_training_points_are_found_as_by_comparing_with_all():
    rng = np.random.default_rng(2)
    prints = np.sort(rng.integers(0, 2**60, (300, 48), dtype=np.uint64), axis=1)
    prints[7, 30:] = NOTHING
    points = TrainingPoints(
        Points([bytes([i % 256, i // 256] * 16) for i in range(300)], prints, np.zeros(300), prints), 0.5
    )
    assert points.exact(bytes([44, 1] * 16)) == 300 - 0 - 0 if False else points.exact(bytes([43, 1] * 16)) == 299
    assert points.exact(b"\xff" * 32) is None
    asked, truth = [], []
    for i in range(100):
        hashes = prints[i][prints[i] != NOTHING].copy()
        moved = rng.choice(len(hashes), rng.integers(0, len(hashes)), replace=False)
        hashes[moved] = rng.integers(0, 2**60, len(moved), dtype=np.uint64)
        asked.append(np.sort(hashes))
        truth.append(i if np.isin(hashes, prints[i]).mean() >= 0.5 else None)
    found = points.near(asked)
    assert sum(one == other for one, other in zip(found, truth, strict=True)) >= 98
    assert all(one in (other, None) for one, other in zip(found, truth, strict=True))
    assert points.near([np.empty(0, dtype=np.uint64)]) == [None]


def test_distances_are_to_the_nearest_earlier_query_of_the_same_label():
    rng = np.random.default_rng(3)
    x, labels = rng.random((30, 5)).astype(np.float32), rng.integers(0, 3, 30)
    slow = []
    for i in range(30):
        earlier = [np.linalg.norm(x[i] - x[j]) for j in range(i) if labels[j] == labels[i]]
        slow += [min(earlier)] if earlier else []
    assert nearest_same_label(x, labels) == pytest.approx(slow, rel=1e-5)


def test_abnormality_of_normal_distances_is_low_and_of_two_peaks_high():
    rng = np.random.default_rng(4)
    normal, peaks = rng.normal(5, 1, 90), np.concatenate([rng.normal(2, 0.05, 45), rng.normal(6, 0.5, 45)])
    assert log_abnormality(normal) < -3
    assert log_abnormality(peaks) > -2
    assert log_abnormality(np.full(90, 2.0)) == 0
    assert np.isnan(log_abnormality(normal[:5]))


# ── hostile logs ─────────────────────────────────────────────────────────────────────────────────────────────────

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    "entry",
    [
        {"fingerprint": ("zz" * 8,)},
        {"fingerprint": ("ab",)},
        {"fingerprint": ("  " + "ab" * 7,)},
        {"fingerprint": ("0" * 16,) * 300},
        {"fingerprint": ()},
        {"input": "!!!!"},
        {"input": "AAA="},
        {"input": ""},
        {"input": base64.b64encode(np.array([np.nan], "<f4").tobytes()).decode()},
    ],
)
def test_what_is_no_fingerprint_or_input_is_none(entry):
    row = Row(0, LogEntry(kind="decision", at=0, account="a", row=0, digest=DIGEST, **entry))
    assert row.hashes is None
    assert row.x is None


def test_a_fingerprint_is_read_whatever_its_order_and_filling():
    text = ("00000000000000ff", "0000000000000001", "00000000000000ff", "f" * 16)
    row = Row(0, LogEntry(kind="decision", at=0, fingerprint=text))
    assert row.hashes.tolist() == [1, 255]


@pytest.mark.parametrize("make", [lambda: Extraction(None), Reconnaissance, lambda: Drift(50)])
def test_hostile_entries_break_no_analyser(make):
    rng = np.random.default_rng(5)
    rows = []
    for i in range(600):
        entry = {
            "account": str(rng.choice(["a", "b", "\u202e", "x" * 5000])),
            "row": 0,
            "label": int(rng.choice([-(2**62), 2**62, i])),
            "digest": "sha256:" + rng.bytes(32).hex(),
            "signals": {"credibility": float(rng.choice([-1e300, 1e300, 0.5])), "no such": 1.0, "confidence": None},
            "fingerprint": tuple(f"{value:016x}" for value in rng.integers(0, 5, rng.integers(1, 99))),
            "input": base64.b64encode(rng.random(rng.integers(1, 9)).astype("<f4").tobytes()).decode(),
        }
        some = {name: value for name, value in entry.items() if rng.random() < 0.95}
        rows.append(Row(i, LogEntry(kind="decision", at=int(rng.choice([0, 10**18, i])), **some)))
    analyser = make()
    analyser.see(rows)
    report = analyser.end()
    assert report.looked
    assert all(0 <= index < 600 for suspicion in report.suspicions for index in suspicion.entries)


def test_entries_that_no_guard_wrote_are_a_finding_and_hide_nothing(tmp_path):
    auditee = Auditee(tmp_path)
    auditee.ask("searcher", search(parts()["customers"][0][9], 40, auditee.rng))
    raw = [entry_bytes(entry) for entry in auditee.entries()]
    auditee.write_raw([*raw[:10], b"{", b"[" * 1000, b'{"at":1,"kind":"party"}', *raw[10:]])
    analysed = analyse(LogReader(auditee.log), [Reconnaissance()])
    assert analysed.unreadable.entries == (10, 11, 12)
    assert len(analysed.unreadable.proofs) == 3
    assert analysed.reports[0].suspicions[0].figures["queries"] == 40


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_cluster_outlives_the_queries_that_are_forgotten(tmp_path):
    auditee = Auditee(tmp_path)
    auditee.honest("customer", 300)
    auditee.ask("searcher", search(parts()["customers"][0][9], 120, auditee.rng))
    analyser = Reconnaissance(remember=60)
    analyser.see(auditee.rows())
    assert len(analyser._prints) == len(analyser._queries) == 60
    (found,) = [one for one in analyser.end().suspicions if "searcher" in one.accounts]
    assert found.figures["queries"] >= 110
    assert not analyser._queries
    assert not analyser._prints._index


def test_a_flood_of_accounts_washes_nobody_out(tmp_path, monkeypatch):
    monkeypatch.setattr("redoubt.service.analyse.analysers.membership._MOST_ACCOUNTS", 5)
    auditee = Auditee(tmp_path)
    known = read_reference(read_policy(auditee.policy))
    auditee.ask("prober", parts()["train"][0][:12])
    for i in range(30):
        auditee.ask(f"sybil {i}", parts()["customers"][0][i : i + 2])
    analyser = Membership(known)
    analyser.see(auditee.rows(shuffle=False))
    assert len(analyser._accounts._states) == 5
    assert [found.accounts for found in analyser.end().suspicions] == [("prober",)]
