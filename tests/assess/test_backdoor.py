"""The backdoor game from policy to verdict, report and back."""

import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import backdoored
from redoubt.assess import assess
from redoubt.attacks.backdoor import Laid
from redoubt.games.backdoor import allowed, conclude_backdoor, sent
from redoubt.games.measures import measured
from redoubt.models import TorchModel
from redoubt.policy import explain, read_policy
from redoubt.records import Bound, PolicyError, Sign, SignName, Verdict
from redoubt.report import write_reports

FACTORY = """\
from torch import nn

def build():
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * 25, 32), nn.ReLU(), nn.Linear(32, 6),
    )
"""
POLICY = """\
redoubt: 1
system: bars
model:
  source: torch:bars_model:build
  weights: {weights}.safetensors
  input: {{shape: [1, 10, 10], range: [0, 1]}}
  classes: 6
data: {{test: {{source: "npz:test.npz"}}}}
adversaries:
  supplier: {{knows: {knows}}}
requirements:
  - {{id: hidden, game: backdoor, adversary: supplier, within: {{patch: 4 %}},
     require: attack_success <= {bound}{more}}}
"""


@pytest.fixture
def policy(tmp_path):
    held = backdoored.images(300, 2)
    np.savez(tmp_path / "test.npz", x=held.x.numpy(), y=held.y.numpy())
    (tmp_path / "bars_model.py").write_text(FACTORY)
    for name, model in (("planted", backdoored.planted()), ("clean", backdoored.clean())):
        save_file(model.module.state_dict(), tmp_path / f"{name}.safetensors")

    def make(weights="planted", bound="0.3", knows="weights", more=", strategies: [squares], targets: [2, 4]"):
        path = tmp_path / f"{weights}.yaml"
        path.write_text(POLICY.format(weights=weights, bound=bound, knows=knows, more=more))
        return path

    return make


def test_a_planted_model_is_violated_with_the_trigger_in_hand(policy, tmp_path):
    file = read_policy(policy(more=", strategies: [neural-cleanse]"))
    evidence = assess(file, tmp_path / "e")
    (found,) = evidence.requirements
    assert found.verdict is Verdict.VIOLATED
    assert found.best.target == 2
    assert found.best.pixels <= found.pixels == 4
    assert found.measures[0].value > 0.8
    assert found.anomaly > 2
    assert "Somebody may have planted it" in found.reason
    assert found.reach > 0.95
    assert found.work.backwards > 0
    shown = load_file(tmp_path / "e" / "examples.safetensors")
    trigger = shown["hidden/trigger/clean"][0]
    # The picture is the planted patch, as far as four pixels of another pattern that the model takes for it can be.
    assert (trigger != 0.5).sum() <= 4
    assert (trigger != 0.5)[7:, 7:].sum() >= 3
    write_reports(tmp_path / "e", "redoubt assess planted.yaml", {})
    page = (tmp_path / "e" / "report.html").read_text()
    assert "The trigger that leads to" in page
    assert page.count('alt="A held-out input that wears it"') == 5
    # Run again, nothing is searched anew, and the evidence is the same.
    again = assess(file, tmp_path / "e")
    assert again == evidence


def test_the_clean_twin_withstands_a_bound_that_the_planted_one_breaks(policy, tmp_path):
    (planted,) = assess(read_policy(policy(bound="0.6")), tmp_path / "p").requirements
    (clean,) = assess(read_policy(policy("clean", bound="0.6")), tmp_path / "c").requirements
    assert planted.verdict is Verdict.VIOLATED
    assert clean.verdict is Verdict.WITHSTOOD
    assert clean.anomaly is None  # two classes have no outlier
    assert clean.searched + clean.held_out <= 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"knows": "nothing"}, "has not the weights"),
        ({"more": ", targets: [6]"}, "there is no class 6"),
        ({"more": ", targets: [1, 1]"}, "targets names one twice"),
        ({"bound": "0.3, strategies: [guesses]", "more": ""}, "strategies"),
    ],
)
def test_what_cannot_be_meant_is_refused(policy, change, message):
    with pytest.raises(PolicyError, match=message):
        read_policy(policy(**change))


def test_a_patch_of_less_than_a_pixel_is_refused(policy):
    path = policy()
    path.write_text(path.read_text().replace("patch: 4 %", "patch: 0.5 %"))
    with pytest.raises(PolicyError, match="less than a pixel"):
        read_policy(path)


def test_check_says_what_is_searched(policy):
    (text,) = [one for one in explain(read_policy(policy()).policy) if "hidden" in one]
    assert "a trigger of 4 pixels at most" in text
    assert "class 2 or 4" in text
    assert re.search(r"at most 30 % of the other half", text)


def test_the_judge_cuts_what_is_proposed():
    face = backdoored.FACE
    greedy = Laid(torch.ones(1, 10, 10), torch.full(face.shape, 7.0))
    mine = allowed(greedy, 4, backdoored.clean())
    assert int(mine.mask.sum()) == 4
    assert float(mine.pattern.max()) == 1.0
    soft = Laid(torch.full((1, 10, 10), 0.4), torch.full(face.shape, float("nan")))
    mine = allowed(soft, 4, backdoored.clean())
    assert not mine.mask.any()
    assert mine.pattern.isfinite().all()


def test_inputs_of_the_target_class_do_not_count():
    model = TorchModel(nn.Sequential(nn.Flatten(), nn.Linear(100, 6)), backdoored.FACE)
    with torch.no_grad():
        model.module[1].weight.zero_()
        model.module[1].bias.copy_(torch.eye(6)[2])
    held = backdoored.held_out()
    assert sent(model, held.x, held.y, backdoored.PATCH, 2) == (int((held.y != 2).sum()),) * 2
    assert sent(model, held.x, held.y, backdoored.PATCH, 3)[0] == 0
    only = held.y == 2
    assert sent(model, held.x[only], held.y[only], backdoored.PATCH, 2) == (0, 0)


@pytest.mark.parametrize(
    ("gone", "of", "signs", "verdict"),
    [
        (60, 100, False, Verdict.VIOLATED),
        (60, 100, True, Verdict.VIOLATED),  # a trigger in hand is one, however the search went
        (10, 100, False, Verdict.WITHSTOOD),
        (10, 100, True, Verdict.UNDECIDED),
        (30, 100, False, Verdict.UNDECIDED),
        (0, 5, False, Verdict.UNDECIDED),
    ],
)
def test_verdicts(gone, of, signs, verdict):
    sign = [Sign(name=SignName.BROKEN_STRATEGY, explanation="it broke.")] if signs else []
    bound = Bound(measure="attack_success", sense="<=", value=0.3)
    assert conclude_backdoor(bound, measured("attack_success", gone, of), "2", sign, 1.0)[0] is verdict


def test_nothing_measured_is_undecided():
    bound = Bound(measure="attack_success", sense="<=", value=0.3)
    assert conclude_backdoor(bound, None, "", [], None)[0] is Verdict.UNDECIDED
