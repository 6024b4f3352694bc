"""The privacy game from policy to verdict and report: ledgers that keep a bound, that do not, and that are refuted."""

import math
import shutil

import pytest
import torch
from safetensors.torch import save_file
from scipy.optimize import brentq
from scipy.stats import norm

from redoubt.assess import assess
from redoubt.bounds.privacy import PrivacyLedger, write_ledger
from redoubt.bounds.privacy.events import DeclaredSearch, GaussianRelease
from redoubt.bounds.privacy.ledger import Group
from redoubt.policy import explain, read_policy
from redoubt.records import DataError, PolicyError, Verdict
from redoubt.records.privacy import Guesses, PrivacyAudit, PrivacyClaim
from redoubt.report import write_reports

FACTORY = "from torch import nn\n\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
POLICY = """\
redoubt: 1
system: private
model:
  source: torch:linear_reader:build
  weights: w.safetensors
  input: {{shape: [1, 8, 8], range: [0, 1]}}
  classes: 10
data:
  test: {{source: sklearn:digits/test, take: 50}}
adversaries:
  anybody: {{knows: weights}}
requirements:
  - {{id: kept, game: privacy, adversary: anybody, require: {require}, ledger: ledger.json{more}}}
"""
LEDGER = PrivacyLedger(events=(GaussianRelease(noise_multiplier=4.0, what="mean of the features"),))


def gaussian_delta(epsilon, noise):
    """Of one Gaussian release (Balle and Wang 2018, theorem 8)."""
    ahead, behind = norm.cdf(0.5 / noise - epsilon * noise), norm.cdf(-0.5 / noise - epsilon * noise)
    return ahead - math.exp(epsilon) * behind


TRUE = brentq(lambda epsilon: gaussian_delta(epsilon, 4.0) - 1e-5, 0.1, 3)


def audit(bound, claim=TRUE, delta=1e-5, verdict=Verdict.WITHSTOOD):
    guesses = Guesses(distinguisher="trace", positives=9, right_positives=8, negatives=9, right_negatives=8)
    return PrivacyAudit(
        method="one-run",
        kind="mislabelled",
        canaries=400,
        runs=1,
        tested=300,
        claim=PrivacyClaim(epsilon=claim, delta=delta, by="pld"),
        level=0.95,
        epsilon_lower_bound=bound,
        bound_by=guesses,
        claim_chance=0.4,
        claim_by=guesses,
        verdict=verdict,
        reason=f"epsilon is at least {bound}.",
    )


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    folder = tmp_path_factory.mktemp("private")
    (folder / "linear_reader.py").write_text(FACTORY)
    torch.manual_seed(0)
    save_file({"1.weight": torch.randn(10, 64), "1.bias": torch.zeros(10)}, folder / "w.safetensors")
    return folder


@pytest.fixture
def played(ground, tmp_path):
    """The evidence of one requirement on a ledger, with an audit's result or without."""

    def play(require="epsilon <= 3 at delta 1e-5", ledger=LEDGER, found=None, more=""):
        shutil.copytree(ground, tmp_path, dirs_exist_ok=True)
        (tmp_path / "ledger.json").write_bytes(write_ledger(ledger))
        if found is not None:
            (tmp_path / "audit.json").write_text(found.model_dump_json())
            more += ", audit: audit.json"
        (tmp_path / "policy.yaml").write_text(POLICY.format(require=require, more=more))
        (one,) = assess(read_policy(tmp_path / "policy.yaml"), tmp_path / "evidence").requirements
        return one

    return play


def test_an_accounted_guarantee_is_proved(played, tmp_path):
    found = played()
    assert found.verdict is Verdict.PROVED
    assert found.measures[0].value == pytest.approx(TRUE, rel=1e-3)
    assert sum(part.share for part in found.parts) == pytest.approx(1)
    assert found.parts[0].what.endswith("(mean of the features)")
    assert found.cross_checks.keys() == {"rdp", "prv"}
    assert found.lower == pytest.approx(TRUE, rel=1e-2)
    write_reports(tmp_path / "evidence", "redoubt assess", {})
    page = (tmp_path / "evidence/report.html").read_text()
    assert "mean of the features" in page
    assert "at most 3 at delta 1e-05" in page
    assert "was not audited" in page
    assert "meets its policy by proof, whatever the adversary does" in page


def test_the_audit_stands_beside_the_proof(played):
    found = played(found=audit(0.7))
    assert found.verdict is Verdict.PROVED
    assert found.measures[0].ends == (0.7, pytest.approx(TRUE, rel=1e-3))


def test_an_audit_of_another_training_is_refused(played):
    with pytest.raises(PolicyError, match="the audit is of a training that claims epsilon 9"):
        played(found=audit(0.7, claim=9.0))


def test_an_audit_at_a_smaller_delta_is_refused(played):
    with pytest.raises(PolicyError, match="says nothing at delta 1e-05"):
        played(found=audit(0.7, delta=1e-7))


def test_each_group_has_its_own_guarantee(played):
    ledger = PrivacyLedger(groups={"opted-in": Group()}, events=LEDGER.events)
    ledger = ledger.plus(GaussianRelease(noise_multiplier=1.0, on="opted-in"))
    assert played(ledger=ledger, more=", group: opted-in").verdict is Verdict.UNDECIDED
    with pytest.raises(PolicyError, match="groups are everyone, opted-in"):
        played(ledger=ledger, more=", group: nobody")


@pytest.mark.parametrize("ledger", [PrivacyLedger(), LEDGER.plus(DeclaredSearch(settings=20))], ids=["empty", "search"])
def test_what_is_not_counted_is_not_proved(played, ledger):
    assert played(ledger=ledger).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("content", [b"{}", b"\xff", b'{"redoubt_privacy_audit": 1, "verdict": "withstood"}'])
def test_an_audit_that_is_none_is_refused_by_name(played, tmp_path, content):
    played()
    (tmp_path / "audit.json").write_bytes(content)
    with pytest.raises(DataError, match=r"audit\.json"):
        played(more=", audit: audit.json")


def test_the_policy_is_explained(ground, tmp_path):
    (tmp_path / "policy.yaml").write_text(POLICY.format(require="epsilon <= 3 at delta 1e-5", more=""))
    said = " ".join(explain(read_policy(tmp_path / "policy.yaml").policy))
    assert "must be (3, 1e-05)-differentially private" in said
