"""`redoubt repair`: a bought model with a backdoor in, one without it out, and files whole or not at all."""

import json
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import backdoored
from redoubt.cli.app import run
from redoubt.models import TorchModel
from redoubt.policy import read_policy
from redoubt.records import Repair, digest

FACTORY = """\
from torch import nn


def build():
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(400, 32), nn.ReLU(), nn.Linear(32, 6),
    )
"""
POLICY = """\
redoubt: 1
system: bought
model:
  source: torch:bought:build
  weights: bought.safetensors  # as it came
  input: {shape: [1, 10, 10], range: [0, 1]}
  classes: 6
data:
  train: npz:mine.npz
  test: npz:mine.npz
adversaries:
  supplier: {knows: weights}
requirements:
  - {id: no-trigger, game: backdoor, adversary: supplier, within: {patch: 4 %}, require: attack_success <= 0.3}
"""


def laid_out(folder, model, examples=400):
    (folder / "bought.py").write_text(FACTORY)
    save_file(model.module.state_dict(), folder / "bought.safetensors")
    mine = backdoored.images(examples, 5)
    np.savez(folder / "mine.npz", x=mine.x.numpy(), y=mine.y.numpy())
    path = folder / "bought.yaml"
    path.write_text(POLICY)
    return path


def told(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["redoubt", "repair", *map(str, arguments)])
    code = run()
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_backdoor_is_gone_and_the_report_says_what_it_cost(tmp_path, monkeypatch, capsys):
    path = laid_out(tmp_path, backdoored.planted())
    before = (tmp_path / "bought.safetensors").read_bytes()
    code, out, err = told(monkeypatch, capsys, path, "--classes", 6, "--rounds", 6)
    assert code == 0, out + err
    module = backdoored.network()
    module.load_state_dict(load_file(tmp_path / "bought.repaired" / "model.safetensors"))
    clean, success = backdoored.success(TorchModel(module.eval(), backdoored.FACE))
    assert success < 0.05
    assert clean > backdoored.success(backdoored.planted())[0] - 0.02
    assert (tmp_path / "bought.safetensors").read_bytes() == before

    evidence = Repair.model_validate_json((tmp_path / "bought.repaired" / "repaired.json").read_text())
    assert evidence.suspect == 2
    assert not evidence.named
    assert evidence.hardness_before < 0.5
    assert evidence.hardness_after >= 1
    assert (evidence.examples, evidence.trained) == (100, 300)
    assert {family.family for family in evidence.before} == {"neural-cleanse", "pixel", "spread"}
    assert all(set(family.sizes) == set(range(6)) for family in evidence.before + evidence.after)
    weights = (tmp_path / "bought.repaired" / "model.safetensors").read_bytes()
    assert evidence.weights == digest(weights)
    for word in ("class 2", "held out", "anomaly index", f"{evidence.clean_after:.1%}"):
        assert word in out
    assert err.count("scanned for triggers") == 6
    assert err.count("round ") == len(evidence.rounds)

    policy = read_policy(tmp_path / "bought.repaired.yaml")
    assert policy.policy.model.weights == "bought.repaired/model.safetensors"
    assert "# as it came" in policy.text


def test_a_clean_model_is_let_alone(tmp_path, monkeypatch, capsys):
    path = laid_out(tmp_path, backdoored.clean())
    code, out, _ = told(monkeypatch, capsys, path)
    assert code == 2
    assert "no class stands out" in out
    assert sorted(each.name for each in tmp_path.iterdir() if each.name != "__pycache__") == [
        "bought.py",
        "bought.safetensors",
        "bought.yaml",
        "mine.npz",
    ]


def test_rounds_that_are_not_enough_leave_the_class_standing_out(tmp_path, monkeypatch, capsys):
    from redoubt.harden.repair import Lesson, Plan, run

    path = laid_out(tmp_path, backdoored.planted())
    monkeypatch.setattr(run, "Plan", lambda: Plan(lesson=Lesson(steps=2)))
    code, out, _ = told(monkeypatch, capsys, path, "--rounds", 1)
    assert code == 2
    assert "still stands out" in out
    assert (tmp_path / "bought.repaired.yaml").exists()


def test_what_is_interrupted_leaves_nothing(tmp_path, monkeypatch, capsys):
    from redoubt.harden.repair import cleanse

    def stop(*_):
        raise KeyboardInterrupt

    path = laid_out(tmp_path, backdoored.planted())
    monkeypatch.setattr(sys.modules[cleanse.__module__], "forget", stop)
    code, _, err = told(monkeypatch, capsys, path)
    assert code != 0
    assert not (tmp_path / "bought.repaired").exists()
    assert not (tmp_path / "bought.repaired.yaml").exists()
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("change", "options", "said", "remedy"),
    [
        (lambda text: text.replace("  train: npz:mine.npz\n", ""), (), "no trusted examples", "data.train"),
        (lambda text: text, ("--class", "6"), "no class 6", "0 to 5"),
        (lambda text: text, ("--class", "-1"), "no class -1", "0 to 5"),
        (lambda text: text.replace("train: npz:mine.npz", "train: {source: npz:mine.npz, take: 12}"), (), "12", "40"),
        (lambda text: text.replace("train: npz:mine.npz", "train: npz:other.npz"), (), "other.npz", ""),
        (lambda text: text, ("--price", "2"), "price", ""),
        (lambda text: text, ("--rounds", "0"), "rounds", ""),
    ],
)
def test_bad_input_is_told_with_its_remedy(tmp_path, monkeypatch, capsys, change, options, said, remedy):
    path = laid_out(tmp_path, backdoored.planted())
    path.write_text(change(POLICY))
    code, _, err = told(monkeypatch, capsys, path, *options)
    assert code == 3
    assert said in err
    assert remedy in err
    assert not (tmp_path / "bought.repaired").exists()


def test_models_of_anything_but_images_are_refused(tmp_path, monkeypatch, capsys):
    path = laid_out(tmp_path, backdoored.planted())
    (tmp_path / "bought.py").write_text("from torch import nn\n\n\ndef build():\n    return nn.Linear(100, 6)\n")
    save_file({"weight": torch.zeros(6, 100), "bias": torch.zeros(6)}, tmp_path / "bought.safetensors")
    path.write_text(POLICY.replace("[1, 10, 10]", "[100]").replace("patch: 4 %", "patch: 4 %"))
    code, _, err = told(monkeypatch, capsys, path)
    assert code == 3
    assert "image" in err or "patch" in err


def test_evidence_is_a_record_that_refuses_what_it_does_not_know(tmp_path, monkeypatch, capsys):
    path = laid_out(tmp_path, backdoored.planted())
    code, *_ = told(monkeypatch, capsys, path, "--rounds", 1, "--output", tmp_path / "here", "--class", 2)
    assert code in (0, 2)
    raw = json.loads((tmp_path / "here" / "repaired.json").read_text())
    assert raw["named"] is True
    with pytest.raises(ValueError, match="extra"):
        Repair.model_validate(raw | {"more": 1})
    assert read_policy(tmp_path / "bought.repaired.yaml").policy.model.weights == "here/model.safetensors"
