"""`redoubt check` and `redoubt assess` on a policy of three games, as a person runs them: verdicts, report, resume."""

import json
import os
import subprocess
import sys

import pytest

from digits import lay
from redoubt.bounds.privacy import PrivacyLedger, write_ledger
from redoubt.bounds.privacy.events import GaussianRelease

FACTORY = """\
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
"""
POLICY = """\
redoubt: 1
system: digits
model:
  source: torch:three_games:build
  weights: w.safetensors
  input: {shape: [1, 8, 8], range: [0, 1]}
  classes: 10
data:
  train: npz:train.npz
  test: npz:test.npz
adversaries:
  supplier: {budget: {share: 10 %}}
  vandal: {budget: {share: 1 %}}
  customer: {observes: scores}
requirements:
  - id: planted
    game: poisoning
    adversary: supplier
    require: targets_flipped <= 0.1
    targets: 4
    strategies: [chosen-flips]
    neighbours: 10
    victims: {models: 2, epochs: 12, batch: 32, learning_rate: 0.005}
  - id: vandalised
    game: poisoning
    adversary: vandal
    require: accuracy_drop <= 0.2
    victims: {models: 1, epochs: 12, batch: 32, learning_rate: 0.005}
  - id: who-was-in
    game: membership
    adversary: customer
    require: membership_auc <= 0.9
    strategies: [loss-threshold, rmia-offline]
    shadows: {models: 4, epochs: 12, batch: 32, learning_rate: 0.005}
  - {id: kept, game: privacy, adversary: customer, require: epsilon <= 3 at delta 1e-5, ledger: ledger.json}
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def ground(tmp_path):
    """400 digits to train on, 300 to test on, a network that knows them, and a ledger of one noisy release."""
    lay(tmp_path, "three_games", FACTORY, epochs=12)
    release = GaussianRelease(noise_multiplier=4.0, what="mean of the features")
    (tmp_path / "ledger.json").write_bytes(write_ledger(PrivacyLedger(events=(release,))))
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


def redoubt(folder, *words):
    """The command, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "redoubt", *words], cwd=folder, capture_output=True, text=True, env=dict(os.environ)
    )
    return done.returncode, done.stdout + done.stderr


def test_three_games_from_policy_to_report_and_again(ground):
    code, said = redoubt(ground, "check", "policy.yaml")
    assert code == 0, said
    assert "Each strategy is played by an adversary who knows that" in " ".join(said.split())

    code, said = redoubt(ground, "assess", "policy.yaml", "--output", "out", "--workers", "1")
    assert code == 1, said  # flips of a tenth break the first
    evidence = json.loads((ground / "out/evidence.json").read_text())
    found = {each["id"]: each for each in evidence["requirements"]}
    assert {name: each["verdict"] for name, each in found.items()} == {
        "planted": "violated",
        "vandalised": "withstood",
        "who-was-in": "withstood",
        "kept": "proved",
    }
    assert [one["aware"] for one in found["planted"]["outcomes"]] == [False, True]
    assert [one["strategy"] for one in found["who-was-in"]["outcomes"]] == ["rmia-offline", "loss-threshold"]
    page = next((ground / "out").glob("*.html")).read_text()
    for name in found:
        assert name in page
    assert "chosen-flips, aware" in page
    assert len(list((ground / "out").glob("*.xml"))) == len(list((ground / "out").glob("*.sarif"))) == 1

    # Again, without one result, as after a kill: that alone is done again, and the evidence is the same.
    before = (ground / "out/evidence.json").read_bytes()
    tasks = {each.name: each.stat().st_mtime_ns for each in (ground / "out/tasks").glob("*.safetensors")}
    lost = sorted(tasks)[0]
    (ground / "out/tasks" / lost).unlink()
    (ground / "out/evidence.json").unlink()
    again, _ = redoubt(ground, "assess", "policy.yaml", "--output", "out", "--workers", "1")
    assert again == code
    assert (ground / "out/evidence.json").read_bytes() == before
    after = {each.name: each.stat().st_mtime_ns for each in (ground / "out/tasks").glob("*.safetensors")}
    assert set(after) == set(tasks)
    assert {name for name in tasks if after[name] != tasks[name]} == {lost}
