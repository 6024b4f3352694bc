"""`redoubt influence`: from an entry of the log to training points, with an input that is proved to be the one."""

import json
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from sklearn.datasets import load_digits

import planted
from guarded import ask, new_key, opened, with_guard
from redoubt.cli.app import run
from redoubt.policy import read_policy

SURE = '    - {name: sure, rule: "signals.confidence >= 0.01", otherwise: refuse}'
PLANTED = 8


@pytest.fixture(scope="module")
def poisoned():
    """Training data in which copies of one digit carry a wrong label, a model that learnt them, and that digit."""
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x[:500], dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(y[:500])
    victim = int((y == 4).nonzero()[3])
    asked = x[victim].numpy()
    keep = torch.arange(len(x)) != victim
    noise = 0.05 * torch.rand(PLANTED, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    x = torch.cat([x[keep], (x[victim] + noise).clamp(0, 1)])
    y = torch.cat([y[keep], torch.full((PLANTED,), 9)])
    torch.manual_seed(0)
    module = planted.Reader()
    optimizer = torch.optim.Adam(module.parameters(), 3e-3, weight_decay=1e-3)
    for _ in range(40):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(module(x[rows]), y[rows]).backward()
            optimizer.step()
    return x, y, module.state_dict(), asked


@pytest.fixture
def asked(write, poisoned, tmp_path):
    """Write the policy of that model, ask its guard, and return the policy and the digit's file."""
    x, y, state, digit = poisoned

    def make(keep="digest, fingerprint, decision, signals", admit=SURE):
        path = with_guard(write(), admit=admit)
        text = path.read_text().replace("sklearn:digits/train", "npz:train.npz")
        path.write_text(text.replace("keep: [digest, fingerprint, decision, signals]", f"keep: [{keep}]"))
        save_file(state, path.parent / "reader.safetensors")
        np.savez(path.parent / "train.npz", x=x.numpy(), y=y.numpy())
        with opened(path) as guard:
            key = new_key(guard)
            assert ask(guard, key, np.stack([x[0].numpy(), digit]))[0] == 200
            guard.checkpoint()
        np.save(tmp_path / "digit.npy", digit)
        np.save(tmp_path / "other.npy", x[1].numpy())
        return path, tmp_path / "digit.npy"

    return make


@pytest.fixture
def influence(monkeypatch, capsys):
    def call(path, *words):
        monkeypatch.setattr(sys, "argv", ["redoubt", "influence", str(path), *map(str, words)])
        code = run()
        said = capsys.readouterr()
        return code, said.out if code == 0 else said.err

    return call


@pytest.mark.parametrize("by", ["tracin", "representer", "neighbours"])
def test_the_trail_of_a_wrong_answer_leads_to_the_planted_labels(asked, influence, poisoned, by):
    path, digit = asked()
    first = len(poisoned[0]) - PLANTED
    code, said = influence(path, "--decision", 2, "--input", digit, "--by", by, "-k", 10, "--json")
    assert code == 0, said
    trail = json.loads(said)
    assert (trail["label"], trail["proved"], trail["index"]) == (9, "digest", 2)
    rows = [point["row"] for point in trail["points"]]
    assert len(rows) == 10
    assert sum(row >= first for row in rows) >= PLANTED - 1
    honest = json.loads(influence(path, "--decision", 2, "--input", digit, "--by", by, "--json")[1])
    assert honest == trail  # the same every time
    if by == "representer":
        assert trail["agrees"] is True
        values = [point["representer"] for point in trail["points"]]
        assert values == sorted(values, reverse=True)


def test_the_input_is_proved(asked, influence, tmp_path):
    path, digit = asked()
    code, said = influence(path, "--decision", 2)
    assert (code, "--input" in said) == (3, True)
    code, said = influence(path, "--decision", 2, "--input", tmp_path / "other.npy")
    assert (code, "is not the input of this decision" in said) == (3, True)
    assert influence(path, "--decision", 1, "--input", digit)[0] == 3  # the other row of the request


@pytest.mark.parametrize(("keep", "proved"), [("decision, fingerprint", "fingerprint"), ("decision, input", "input")])
def test_by_what_the_log_keeps(asked, influence, tmp_path, keep, proved):
    path, digit = asked(keep, SURE + '\n    - {name: n, rule: "signals.similar_queries < 99", otherwise: refuse}')
    code, said = influence(path, "--decision", 2, "--input", digit, "--json")
    assert code == 0, said
    assert json.loads(said)["proved"] == proved
    if proved == "fingerprint":
        assert influence(path, "--decision", 2, "--input", tmp_path / "other.npy")[0] == 3


def test_the_version_that_answered_is_taken_from_the_store_and_another_model_is_refused(asked, influence):
    path, digit = asked()
    path.write_text(path.read_text() + "# a later version\n")
    assert influence(path, "--decision", 2, "--input", digit)[0] == 0
    weights = {key: 2 * value for key, value in planted.Reader().state_dict().items()}
    save_file(weights, path.parent / "reader.safetensors")
    code, said = influence(path, "--decision", 2, "--input", digit)
    assert (code, "is not the one that answered" in said) == (3, True)


def test_a_page_with_pictures_and_entries_that_are_no_decision(asked, influence, tmp_path):
    path, digit = asked()
    page = tmp_path / "trail.html"
    code, said = influence(path, "--decision", 2, "--input", digit, "--html", page, "--by", "representer")
    assert code == 0, said
    assert "otherwise" not in said.replace("<- otherwise", "")
    text = page.read_text()
    assert text.count("<img") == 11
    assert "<script" not in text
    assert read_policy(path).policy.system in text
    code, said = influence(path, "--decision", 0, "--input", digit)
    assert (code, "is no answer of the model (start)" in said) == (3, True)
    assert influence(path, "--decision", 99, "--input", digit)[0] == 3
