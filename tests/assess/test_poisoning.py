"""The poisoning game from policy to verdict, report and back."""

import shutil

import pytest
import torch

from digits import lay
from redoubt.assess import assess
from redoubt.assess.poisoning import jobs
from redoubt.attacks.poisoning import PoisonedSet
from redoubt.data import Dataset
from redoubt.policy import explain, read_policy
from redoubt.records import DataError, ModelError, Place, PolicyError, SignName, Verdict
from redoubt.report import write_reports

FACTORY = """\
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
"""
POLICY = """\
redoubt: 1
system: digits
model:
  source: torch:poisoned:build
  weights: w.safetensors
  input: {{shape: [1, 8, 8], range: [0, 1]}}
  classes: 10
data:
  train: npz:train.npz
  test: npz:test.npz
adversaries:
  supplier: {{knows: nothing, budget: {{share: {share}}}}}
requirements:
  - {{id: planted, game: poisoning, adversary: supplier, require: {require}{more},
     victims: {{models: 2, epochs: 12, batch: 32, learning_rate: 0.005{victims}}}}}
"""


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """400 digits to train on, 300 to test on, and a network that knows them."""
    folder = tmp_path_factory.mktemp("poison")
    lay(folder, "poisoned", FACTORY, epochs=15)
    return folder


@pytest.fixture
def policy(ground, tmp_path):
    """A policy file beside copies of all that it names."""

    def make(require="targets_flipped <= 0.2", more=", targets: 3", share="1 %", victims=""):
        shutil.copytree(ground, tmp_path, dirs_exist_ok=True)
        path = tmp_path / "policy.yaml"
        path.write_text(POLICY.format(require=require, more=more, share=share, victims=victims))
        return read_policy(path)

    return make


def played(file, folder, **options):
    (found,) = assess(file, folder, **options).requirements
    return found


def reported(folder):
    return write_reports(folder, "redoubt assess policy.yaml", {"planted": Place("policy.yaml", 14)})[
        "html"
    ].read_text()


def test_chosen_flips_of_a_tenth_break_the_bound_and_the_report_shows_it(policy, tmp_path):
    file = policy(share="10 %", more=", targets: 6, strategies: [chosen-flips, random-flips]")
    found = played(file, tmp_path / "e")
    assert found.verdict is Verdict.VIOLATED, found.reason
    assert found.strongest == "chosen-flips"
    assert (found.rows, found.most, found.victims.models, len(found.targets)) == (400, 40, 2, 6)
    figures = {o.strategy: {m.measure: m for m in o.measures} for o in found.outcomes}
    chosen = figures["chosen-flips"]["targets_flipped"]
    assert (chosen.successes, chosen.trials) == (sum(t.flipped["chosen-flips"] for t in found.targets), 12)
    assert chosen.value > figures["random-flips"]["targets_flipped"].value
    assert all(outcome.rows == 40 for outcome in found.outcomes)
    assert all(t.label != t.wanted for t in found.targets)
    page = reported(tmp_path / "e")
    assert "40 of 400 rows of npz:train.npz" in page
    assert "chosen-flips 2 of 2" in page
    assert page.count("Test input in row") == 6


def test_every_strategy_is_played_and_the_same_evidence_comes_from_two_processes(policy, tmp_path):
    file = policy(more=", targets: 1, radius: 0.3")
    found = played(file, tmp_path / "one")
    names = ["gradient-matching", "influence-point", "chosen-flips", "random-flips"]
    assert [outcome.strategy for outcome in found.outcomes] == names
    assert found.signs == ()
    assert [outcome.rows for outcome in found.outcomes] == [4, 1, 4, 4]
    assert len(list((tmp_path / "one/tasks").glob("*.safetensors"))) == 1 + 4
    less = policy(more=", targets: 1, radius: 0.3, strategies: [random-flips, chosen-flips]")
    played(less, tmp_path / "two", workers=2)
    results = list((tmp_path / "two/tasks").glob("*.safetensors"))
    assert len(results) == 1 + 2
    for again in results:
        assert again.read_bytes() == (tmp_path / "one/tasks" / again.name).read_bytes()


def test_indiscriminate_flips_of_one_per_cent_hardly_matter(policy, tmp_path):
    found = played(policy(require="accuracy_drop <= 0.2", more=""), tmp_path / "e")
    assert found.verdict is Verdict.WITHSTOOD, found.reason
    assert [outcome.strategy for outcome in found.outcomes] == ["chosen-flips", "random-flips"]
    assert found.targets == ()
    assert "Victims" in reported(tmp_path / "e")


CHECKED = ", targets: 2, neighbours: 10, strategies: [random-flips]"


def test_a_check_of_the_data_leaves_flips_out_and_one_who_knows_it_slips_through(policy, tmp_path):
    """Most labels drawn at random contradict their neighbours; those that one who knows has chosen do not."""
    found = played(policy(share="5 %", more=CHECKED), tmp_path / "e")
    unaware, aware = found.outcomes
    assert [one.played for one in found.outcomes] == ["random-flips, unaware", "random-flips, aware"]
    assert (unaware.broke, aware.broke) == (None, None)
    assert unaware.rows == 20
    assert unaware.caught > 0.7
    assert aware.caught < 0.5 * unaware.caught
    assert found.lost < 0.15
    assert found.strongest in {"random-flips, unaware", "random-flips, aware"}
    assert set(found.targets[0].flipped) == {"random-flips, unaware", "random-flips, aware"}
    page = reported(tmp_path / "e")
    assert "random-flips, aware" in page
    assert "by an adversary who knew that" in page


def test_the_worse_of_knowing_the_check_and_not_knowing_it_is_kept(policy, tmp_path, monkeypatch):
    """One who is told that every row passes with its own label alone, and so has no flip left, does as the other."""

    def own_labels_alone(_, y, classes, __):
        return torch.nn.functional.one_hot(y, classes).bool()

    monkeypatch.setattr(jobs, "passing", own_labels_alone)
    found = played(policy(share="5 %", more=CHECKED), tmp_path / "e")
    unaware, aware = found.outcomes
    assert aware.broke is None
    assert (aware.measures, aware.rows, aware.caught) == (unaware.measures, unaware.rows, unaware.caught)
    assert not [sign for sign in found.signs if sign.name is SignName.BROKEN_STRATEGY]


def test_victims_that_are_unlike_the_model_are_a_sign(policy, tmp_path):
    file = policy(more=", targets: 2, strategies: [random-flips]", victims=", weight_decay: 5")
    found = played(file, tmp_path / "e")
    assert [sign.name for sign in found.signs] == [SignName.VICTIMS_DIFFER]
    assert found.verdict is Verdict.UNDECIDED


def test_a_strategy_that_breaks_is_a_sign_and_not_a_pass(policy, tmp_path, monkeypatch):
    def broken(*_):
        raise ModelError("no gradients here")

    monkeypatch.setattr("redoubt.attacks.poisoning.RandomFlips.poison", broken)
    found = played(policy(more=", targets: 2, strategies: [random-flips]"), tmp_path / "e")
    assert found.measures == ()
    assert found.verdict is Verdict.UNDECIDED
    assert found.outcomes[0].broke == "ModelError: no gradients here"
    assert "no gradients here" in reported(tmp_path / "e")


def test_poison_that_changes_nothing_is_no_attack_and_so_no_pass(policy, tmp_path, monkeypatch):
    """Also where the judge put all of it back."""

    def beyond(_, scene, *__):
        x = torch.full_like(scene.data.x, torch.nan)
        return PoisonedSet(Dataset(x, scene.data.y, "", ""), torch.ones(len(x), dtype=torch.bool))

    monkeypatch.setattr("redoubt.attacks.poisoning.RandomFlips.poison", beyond)
    found = played(policy(more=", targets: 2, strategies: [random-flips]"), tmp_path / "e")
    assert found.verdict is Verdict.UNDECIDED
    assert "changed no row" in found.outcomes[0].broke


def test_a_share_of_less_than_a_row_and_too_many_targets_are_refused(policy, tmp_path):
    with pytest.raises(DataError, match="less than one row"):
        played(policy(share="0.1 %"), tmp_path / "e")
    with pytest.raises(DataError, match="1000 targets"):
        played(policy(more=", targets: 1000"), tmp_path / "e")
    assert jobs.most_of(0.01, 100) == 1


@pytest.mark.parametrize(
    ("require", "more", "says"),
    [
        ("accuracy_drop <= 0.1", ", strategies: [gradient-matching]", "one prediction at a time"),
        ("accuracy_drop <= 0.1", ", labels: kept", "labels are kept"),
        ("accuracy_drop <= 0.1", ", targets: 5", "targets has no effect"),
        ("targets_flipped <= 0.1", ", labels: kept, strategies: [chosen-flips]", "changes labels"),
        ("targets_flipped <= 0.1", ", train: {source: 'nowhere:x'}", "nowhere"),
        ("robust_accuracy >= 0.1", "", "does not measure"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(policy, require, more, says):
    with pytest.raises(PolicyError, match=says) as error:
        policy(require=require, more=more)
    assert "policy.yaml:1" in str(error.value)


def test_it_is_explained(policy):
    said = " ".join(explain(policy(more=", targets: 3, radius: 0.1, labels: kept, neighbours: 20").policy))
    assert "may change 1 % of what a model is trained on (npz:train.npz)" in said
    assert "each value of an input by at most 0.1, but no label" in said
    assert "Strategies: gradient-matching, influence-point." in said
    assert "20 nearest rows. Each strategy is played by an adversary who knows that, and by one who does not" in said
    wide = " ".join(explain(policy(require="accuracy_drop <= 0.02", more="").policy))
    assert "must fall by at most 2 %" in wide
    assert "by giving rows wrong labels" in wide
