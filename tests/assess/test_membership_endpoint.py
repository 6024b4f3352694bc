"""The membership game against a model behind HTTP, which the game sees through its answers only."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.tree import DecisionTreeClassifier

from redoubt.assess import assess
from redoubt.policy import read_policy
from redoubt.records import PolicyError, Verdict
from v2_server import V2Server, tensor

POLICY = """\
redoubt: 1
system: served
model:
  source: {url}
  outputs: probabilities
  input: {{shape: [64], range: [0, 1]}}
  classes: 10
data: {{train: npz:train.npz, test: npz:test.npz}}
adversaries:
  customer: {{observes: scores}}
  stranger: {{observes: label, budget: {{queries: 60}}}}
requirements:
  - {{id: who, game: membership, adversary: {adversary}, require: membership_auc <= 0.6{more}}}
"""
TREES = (
    ", strategies: [lira, rmia, loss-threshold], "
    "shadows: {models: 8, source: sklearn:DecisionTreeClassifier, parameters: {max_depth: 12}}"
)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """Digits of which a third have a wrong label, members and others, and a tree that knows its members by heart."""
    folder = tmp_path_factory.mktemp("served")
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    wrong = rng.random(len(y)) < 0.3
    y[wrong] = rng.integers(0, 10, wrong.sum())
    order = rng.permutation(len(y))[:500]
    x = (x / 16).astype(np.float32)
    for name, rows in (("train", order[:250]), ("test", order[250:])):
        np.savez(folder / f"{name}.npz", x=x[rows], y=y[rows])
    return folder, DecisionTreeClassifier(max_depth=12, random_state=0).fit(x[order[:250]], y[order[:250]])


def played(split, answer, adversary, more, tmp_path):
    """The one requirement, played against a server that answers so; and the server."""
    folder, _ = split
    server = V2Server(answer, [-1, 64])
    with server.running():
        path = folder / f"{adversary}.yaml"
        path.write_text(POLICY.format(url=server.url, adversary=adversary, more=more))
        (found,) = assess(read_policy(path), tmp_path / "evidence").requirements
    return found, server


def test_members_are_recognised_by_the_scores_of_a_served_model(split, tmp_path):
    def scores(x):
        return [tensor(split[1].predict_proba(x).astype(np.float32))]

    found, server = played(split, scores, "customer", TREES, tmp_path)
    assert found.verdict is Verdict.VIOLATED, found.reason
    values = {one.strategy: {m.measure: m.value for m in one.measures} for one in found.outcomes}
    assert {"lira", "rmia", "loss-threshold"} == set(values)
    assert values["loss-threshold"]["membership_auc"] > 0.6
    assert sum(len(request["inputs"][0]["data"]) for request in server.seen) > 0
    assert found.shadows.models == 8


def test_and_by_labels_alone_within_the_budget(split, tmp_path):
    asked = []

    def labels(x):
        asked.append(len(x))
        return [tensor(split[1].predict(x).astype(np.int64), "INT64", "label")]

    found, _ = played(split, labels, "stranger", "", tmp_path)
    assert {one.strategy for one in found.outcomes} == {"label-noise"}
    auc = next(m.value for m in found.outcomes[0].measures if m.measure == "membership_auc")
    assert auc > 0.6
    assert found.verdict is Verdict.VIOLATED, found.reason
    assert sum(asked) <= 60 * 500


def test_a_served_model_that_nobody_says_how_to_imitate_is_refused(split, tmp_path):
    with pytest.raises(PolicyError, match="does not tell what shadow models are to be"):
        played(split, lambda x: [], "customer", "", tmp_path)
