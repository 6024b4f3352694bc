"""What a ledger claims is what its accountant says, as a point and as a curve."""

import pytest

from redoubt.bounds.privacy import DataDependent, GaussianRelease, PrivacyLedger, claim_of, epsilon
from redoubt.games.privacy.tradeoff import gaussian
from redoubt.records import PolicyError


def test_the_claim_of_one_gaussian_is_its_curve_from_above():
    ledger = PrivacyLedger().plus(GaussianRelease(noise_multiplier=2.0))
    claim, curve = claim_of(ledger, 1e-5)
    assert claim.epsilon == pytest.approx(epsilon(ledger.events, 1e-5))
    for alarms in (0.001, 0.05, 0.3):
        assert curve.most_found(alarms) == pytest.approx(gaussian(0.5).most_found(alarms), rel=0.01)


def test_data_dependent_votes_are_claimed_by_renyi():
    ledger = PrivacyLedger().plus(DataDependent(part="answers", order=12.0, cost=0.5))
    claim, curve = claim_of(ledger, 1e-5)
    assert claim.by == "rdp"
    assert 0 < curve.most_found(0.01) < 1
    with pytest.raises(PolicyError, match="delta is 0"):
        claim_of(ledger, 0)
