"""`redoubt privacy audit` on somebody's own training, private and not."""

import json
import sys

import pytest

from redoubt.cli.app import run

TRAINING = """
import copy
import torch
import torch.nn.functional as F
from redoubt.attacks.canary import dirac, mislabelled
from redoubt.games.privacy import Audited
from redoubt.harden.private import Plan, train_general

rng = torch.Generator().manual_seed(0)
X, Y = torch.randn(300, 60, generator=rng), torch.randint(0, 2, (300,), generator=rng)
X[:, :40] = 0


def overfit(x, y):
    module = torch.nn.Linear(x.shape[1], 2)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(module(x), y).backward()
        optimizer.step()
    return module


def stepwise(x, y):
    module = torch.nn.Linear(x.shape[1], 2)
    course = [copy.deepcopy(module)]
    for _ in range(3):
        train_general(module, x, y, Plan(0.5, 4.0, 1, 1.0, 0.1, 0.0))
        course.append(copy.deepcopy(module))
    return course


def open_():
    return Audited(overfit, X, Y, dirac(40, 60, 2, size=1.0))


def private():
    return Audited(stepwise, X, Y, dirac(40, 60, 2))


def broken():
    return Audited(lambda x, y: 1 / 0, X, Y, dirac(40, 60, 2))


def other():
    return 7
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "training.py").write_text(TRAINING)
    event = {"kind": "poisson-gaussian", "rate": 0.5, "noise_multiplier": 4.0, "steps": 3}
    (tmp_path / "ledger.json").write_text(json.dumps({"redoubt_privacy": 1, "events": [event]}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["redoubt", "privacy", "audit", *arguments])
    return run(), capsys.readouterr()


def test_a_training_without_noise_is_violated_and_a_private_one_is_not(folder, monkeypatch, capsys):
    code, said = command(monkeypatch, capsys, "training:open_", "ledger.json")
    assert code == 1
    assert "claimed at most" in said.out
    assert "violated" in said.out
    code, said = command(monkeypatch, capsys, "training:private", "ledger.json", "--json")
    assert code == 0
    found = json.loads(said.out)
    assert found["verdict"] == "withstood"
    assert found["epsilon_lower_bound"] <= found["claim"]["epsilon"]


def test_many_runs(folder, monkeypatch, capsys):
    code, said = command(monkeypatch, capsys, "training:open_", "ledger.json", "--runs", "60")
    assert code == 1
    assert "if it is Gaussian" in said.out


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("training:broken", "the audited training fails"),
        ("training:other", "returns a int"),
        ("training:absent", "absent"),
        ("training", "is not"),
    ],
)
def test_what_cannot_be_audited_is_refused(folder, monkeypatch, capsys, name, says):
    code, said = command(monkeypatch, capsys, name, "ledger.json")
    assert code == 3
    assert says in said.err
