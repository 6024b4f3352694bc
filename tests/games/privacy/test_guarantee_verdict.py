"""From accountants and audits to a verdict on a guarantee: every way in which it is not proved."""

from dataclasses import replace

import pytest

from redoubt.games.privacy import Accounted, conclude_guarantee
from redoubt.records import Bound, Verdict
from redoubt.records.privacy import Guesses, PrivacyAudit, PrivacyClaim

BOUND = Bound(measure="epsilon", sense="<=", value=3.0, delta=1e-5)
FOUND = Accounted(events=2, upper=2.9, checks=(3.4, 2.91), lower=2.8, searched=0, secret=False)


def audit(bound, verdict=Verdict.WITHSTOOD):
    guesses = Guesses(distinguisher="trace", positives=9, right_positives=8, negatives=9, right_negatives=8)
    return PrivacyAudit(
        method="one-run",
        kind="mislabelled",
        canaries=400,
        runs=1,
        tested=300,
        claim=PrivacyClaim(epsilon=2.9, delta=1e-5, by="pld"),
        level=0.95,
        epsilon_lower_bound=bound,
        bound_by=guesses,
        claim_chance=0.4,
        claim_by=guesses,
        verdict=verdict,
        reason="Found.",
    )


def test_an_upper_bound_that_keeps_the_claim_is_a_proof():
    assert conclude_guarantee(BOUND, FOUND, None)[0] is Verdict.PROVED
    assert conclude_guarantee(BOUND, replace(FOUND, upper=3.0), audit(2.0))[0] is Verdict.PROVED


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"upper": 3.001}, "no leak in hand"),
        ({"upper": 3.2, "lower": 3.1, "checks": ()}, "by any accountant"),
        ({"searched": 20}, "20 by looking at these records"),
        ({"secret": True}, "depends on the records"),
        ({"events": 0}, "proves nothing"),
        ({"checks": (2.7,)}, "contradict each other"),
    ],
)
def test_one_thing_wrong_and_nothing_is_proved(change, says):
    verdict, reason = conclude_guarantee(BOUND, replace(FOUND, **change), None)
    assert verdict is Verdict.UNDECIDED
    assert says in reason


def test_only_a_lower_bound_above_the_claim_is_a_violation():
    assert conclude_guarantee(BOUND, replace(FOUND, upper=9.0, lower=8.0), None)[0] is Verdict.UNDECIDED
    assert conclude_guarantee(BOUND, FOUND, audit(3.01, Verdict.VIOLATED))[0] is Verdict.VIOLATED
    assert conclude_guarantee(BOUND, replace(FOUND, upper=9.0), audit(3.01))[0] is Verdict.VIOLATED


def test_a_ledger_that_an_audit_refutes_proves_nothing():
    verdict, reason = conclude_guarantee(
        BOUND, replace(FOUND, upper=0.5, lower=0.4, checks=()), audit(1, Verdict.VIOLATED)
    )
    assert verdict is Verdict.UNDECIDED
    assert "refutes the ledger" in reason
