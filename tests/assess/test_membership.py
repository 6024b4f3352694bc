"""The membership game from policy to verdict, report and back."""

import json
import re
import shutil

import numpy as np
import pytest
import skops.io
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

from redoubt.assess import assess
from redoubt.assess.membership import jobs
from redoubt.policy import explain, read_policy
from redoubt.records import DataError, Place, SignName, Verdict
from redoubt.report import write_reports

FACTORY = """\
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
"""
POLICY = """\
redoubt: 1
system: overfitted
model:
  source: {source}
  input: {{shape: [1, 8, 8], range: [0, 1]}}
  classes: 10
{extra}data:
  train: npz:train.npz
  test: npz:test.npz
adversaries:
  customer: {{observes: scores}}
  stranger: {{observes: label, budget: {{queries: 12}}}}
requirements:
  - {{id: who, game: membership, adversary: {adversary}, require: {require},
     shadows: {{models: {models}, {recipe}}}{more}}}
"""


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """Digits, some with a wrong label, split at random; a network and a forest that know their half by heart."""
    folder = tmp_path_factory.mktemp("members")
    x, y = load_digits(return_X_y=True)
    x, y = (x / 16).astype(np.float32).reshape(-1, 1, 8, 8), y.copy()
    rng = np.random.default_rng(0)
    wrong = rng.random(len(y)) < 0.3
    y[wrong] = rng.integers(0, 10, wrong.sum())
    order = rng.permutation(len(y))
    for name, rows in (("train", order[:500]), ("test", order[500:1000])):
        np.savez(folder / f"{name}.npz", x=x[rows], y=y[rows])
    (folder / "membered.py").write_text(FACTORY)
    namespace: dict = {}
    exec(FACTORY, namespace)  # the module that the policy names
    torch.manual_seed(9)
    module = namespace["build"]()
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    own, labels = torch.tensor(x[order[:500]]), torch.tensor(y[order[:500]])
    for _ in range(60):
        for rows in torch.randperm(500).split(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(module(own[rows]), labels[rows]).backward()
            optimizer.step()
    save_file(module.state_dict(), folder / "w.safetensors")
    forest = RandomForestClassifier(20, random_state=0).fit(x[order[:500]].reshape(500, -1), y[order[:500]])
    skops.io.dump(forest, folder / "forest.skops")
    return folder


@pytest.fixture
def policy(ground, tmp_path):
    """A policy file beside copies of all that it names."""

    def make(adversary="customer", require="membership_auc <= 0.6", models=8, recipe=None, more="", model="net"):
        shutil.copytree(ground, tmp_path, dirs_exist_ok=True)
        source = "torch:membered:build\n  weights: w.safetensors" if model == "net" else "sklearn:forest.skops"
        recipe = recipe or ("epochs: 60, batch: 32, learning_rate: 0.003" if model == "net" else "parameters: {}")
        extra = "" if model == "net" else "  outputs: probabilities\n"
        path = tmp_path / "policy.yaml"
        path.write_text(POLICY.format(**{**locals(), "source": source}))
        return read_policy(path)

    return make


class Listener:
    def __init__(self):
        self.jobs, self.kept = [], 0

    def planned(self, requirement, tasks): ...

    def playing(self, requirement, strategy, standing):
        self.jobs.append(strategy)

    def finished(self, requirement, tasks, reused):
        self.kept += tasks if reused else 0


def played(file, folder, **options):
    evidence = assess(file, folder, **options)
    (found,) = evidence.requirements
    return found


def test_an_overfitted_network_gives_its_members_away(policy, tmp_path):
    file = policy()
    found = played(file, tmp_path / "e")
    assert found.verdict is Verdict.VIOLATED, found.reason
    assert found.strongest in ("lira", "rmia")
    assert {outcome.strategy for outcome in found.outcomes} == {
        "lira", "rmia", "lira-offline", "rmia-offline", "shadow-classifier", "loss-threshold",
        "label-augmentation", "label-noise",
    }  # fmt: skip
    values = {o.strategy: {m.measure: m.value for m in o.measures} for o in found.outcomes}
    assert values["lira"]["membership_auc"] > values["loss-threshold"]["membership_auc"]
    assert found.signs == ()
    assert (found.members, found.others, found.shadows.models, found.shadows.records) == (500, 500, 8, 500)
    assert found.shadows.inside > found.shadows.outside
    assert [one.ahead for one in found.exposed] == sorted(one.ahead for one in found.exposed)
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one.digest) and one.tensor is None for one in found.exposed)
    data = np.load(tmp_path / "train.npz")
    import hashlib

    first = found.exposed[0]
    assert first.digest == f"sha256:{hashlib.sha256(data['x'][first.row].astype('<f4').tobytes()).hexdigest()}"
    assert first.label == data["y"][first.row]


def test_the_same_evidence_from_two_processes_and_after_a_kill(policy, tmp_path):
    file = policy(more=", strategies: [lira, label-noise]")
    played(file, tmp_path / "one")
    played(file, tmp_path / "two", workers=2)
    bytes_of = lambda name: (tmp_path / name / "evidence.json").read_bytes()  # noqa: E731
    assert bytes_of("one") == bytes_of("two")
    results = sorted((tmp_path / "one/tasks").glob("*.safetensors"))
    assert len(results) == 1 + 4 + 4  # shadow models, records, noised copies
    for gone in results[::2]:
        gone.unlink()
    (tmp_path / "one/evidence.json").unlink()
    listener = Listener()
    played(file, tmp_path / "one", progress=listener)
    assert bytes_of("one") == bytes_of("two")
    assert listener.kept == len(results) - len(results[::2])


def test_shadow_models_stay_when_the_target_is_trained_again_and_when_more_are_wanted(policy, tmp_path, monkeypatch):
    file = policy(more=", strategies: [lira]")
    played(file, tmp_path / "e")
    state = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
    ).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    trained = []
    perform = jobs.ShadowJob.perform
    monkeypatch.setattr(
        jobs.ShadowJob, "perform", lambda job, system: trained.append(job.first) or perform(job, system)
    )
    stranger = played(file, tmp_path / "e")
    assert trained == []
    assert stranger.verdict is Verdict.UNDECIDED  # nothing was memorised, and the shadows are unlike it
    assert SignName.SHADOWS_DIFFER in {sign.name for sign in stranger.signs}
    (tmp_path / "policy.yaml").write_text((tmp_path / "policy.yaml").read_text().replace("models: 8", "models: 16"))
    played(read_policy(tmp_path / "policy.yaml"), tmp_path / "e")
    assert trained == [8]


def test_a_forest_and_its_own_kind(policy, tmp_path):
    found = played(policy(model="forest", more=", strategies: [lira, rmia, loss-threshold]"), tmp_path / "e")
    assert found.verdict is Verdict.VIOLATED
    assert found.shadows.source == "sklearn:forest.skops"
    assert found.shadows.inside == pytest.approx(found.shadows.target_inside, abs=0.02)


def test_who_sees_labels_only_plays_within_the_budget(policy, tmp_path):
    found = played(policy(adversary="stranger"), tmp_path / "e")
    assert {o.strategy: o.parameters for o in found.outcomes} == {
        "label-augmentation": {"shift": 1},
        "label-noise": {"copies": 11, "noise": 0.8},
    }
    assert found.shadows is None
    assert max(o.work.queries for o in found.outcomes) <= 12 * 1000


def test_a_split_that_is_not_random_is_said(policy, tmp_path):
    file = policy(more=", strategies: [lira, loss-threshold]")
    others = np.load(tmp_path / "test.npz")
    rng = np.random.default_rng(0)
    hard = rng.random(others["x"].shape, dtype=np.float32)  # noise has no class
    np.savez(tmp_path / "test.npz", x=0.7 * hard + 0.3 * others["x"], y=others["y"])
    found = played(file, tmp_path / "e")
    assert SignName.SPLIT_DIFFERS in {sign.name for sign in found.signs}
    assert found.verdict is Verdict.UNDECIDED


def test_members_that_are_the_others_are_refused(policy, tmp_path):
    file = policy()
    shutil.copy(tmp_path / "train.npz", tmp_path / "test.npz")
    with pytest.raises(DataError, match="same records"):
        assess(file, tmp_path / "e")
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize("show", [False, True])
def test_the_reports(policy, tmp_path, show):
    more = f", strategies: [lira, loss-threshold], show: {str(show).lower()}"
    file = policy(require="tpr_at_fpr_0.01 <= 1.2 %", more=more)
    found = played(file, tmp_path / "e")
    written = write_reports(tmp_path / "e", "redoubt assess policy.yaml", {"who": Place("policy.yaml", 15)})
    page = written["html"].read_text()
    assert "Members found against false alarms" in page
    assert all(one.digest in page for one in found.exposed)
    assert page.count('alt="Record in row') == (len(found.exposed) if show else 0)
    sarif = json.loads(written["sarif"].read_text())
    assert sarif["runs"][0]["results"][0]["ruleId"] == "membership/tpr_at_fpr_0.01"
    assert "who" in written["junit"].read_text()
    assert "tpr_at_fpr_0.01" in written["model-index"].read_text()


def test_check_says_what_it_means(policy):
    policy_told = explain(policy(require="tpr_at_fpr_0.01 <= 1.2 %", models=64).policy)
    (told,) = [line for line in policy_told if line.startswith("Requirement who")]
    assert "at most 1.2 %" in told
    assert "64 models of its own" in told
    assert "643 others" in told
