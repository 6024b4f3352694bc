"""Adversarial training gains robustness, and a killed training takes the same course as one that was not."""

import pytest

from digits import NOISE
from redoubt.attacks.evasion import APGD
from redoubt.data import load_data
from redoubt.games import play
from redoubt.harden import harden, named_recipe, recipe_names
from redoubt.models import load_model, nowhere
from redoubt.perturb import build_set
from redoubt.policy import read_policy
from redoubt.records import DataError, Hardening, ModelError, PolicyError, StorageError, digest

HARDEN = f"""{NOISE}
harden: {{against: noise, epochs: 4, steps: 3, warmup: 1, batch: 64, learning_rate: 0.002}}"""
UNION = """\
  - id: noise
    game: evasion
    adversary: insider
    within: {any_of: [{norm: l2, radius: 0.6}, {rotation: 15 deg}]}
    require: robust_accuracy >= 0.2"""


def robust_share(file, weights=None):
    """Against APGD on the test data; the requirement's set."""
    source = file.policy.model if weights is None else file.policy.model.model_copy(update={"weights": str(weights)})
    model = load_model(source, file.base, nowhere)
    data = load_data(file.policy.data.test, model.face, file.base, nowhere)
    within = build_set(file.policy.requirements[0].within, model.face)
    return float(play(model, [APGD(steps=20, restarts=2)], data.x, data.y, within).float().mean())


@pytest.mark.parametrize(
    "requirements", [HARDEN, UNION + HARDEN.removeprefix(NOISE).replace("epochs: 4", "epochs: 12")]
)
def test_hardening_gains_robustness_in_the_set_it_trains_against(policy, tmp_path, requirements):
    file = policy(requirements=requirements.replace("radius: 0.04", "radius: 0.1"), take=200)
    hardened = harden(file, tmp_path / "hard")
    assert [epoch.number for epoch in hardened.history] == list(range(1, file.policy.harden.epochs + 1))
    assert robust_share(file, hardened.weights) > robust_share(file) + 0.1


@pytest.mark.parametrize(
    "more",
    [
        "",
        ", loss: trades, average: 0.99, weight_perturbation: 0.01, keep: best",
        ", optimizer: sgd, schedule: triangle, watch_overfitting: true",
    ],
)
def test_a_training_that_was_killed_goes_on_and_ends_the_same(policy, tmp_path, more):
    file = policy(requirements=HARDEN.replace("steps: 3", f"steps: 2{more}"))
    whole = harden(file, tmp_path / "whole")

    def stop(epoch, of):
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        harden(file, tmp_path / "killed", heard=stop)
    heard = []
    rest = harden(file, tmp_path / "killed", heard=lambda epoch, of: heard.append(epoch.number))
    assert heard == [3, 4]
    assert rest.history == whole.history
    assert rest.price.passes == whole.price.passes > 0
    assert rest.weights.read_bytes() == whole.weights.read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-7],
        lambda raw: b"",
        lambda raw: b"x" * 100,
        lambda raw: raw[:-5] + bytes([raw[-5] ^ 1]) + raw[-4:],
    ],
)
def test_a_damaged_or_foreign_checkpoint_is_not_believed(policy, tmp_path, damage):
    file = policy(requirements=HARDEN.replace("epochs: 4", "epochs: 2"))
    harden(file, tmp_path / "hard")
    checkpoint = tmp_path / "hard" / "checkpoint.safetensors"
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    heard = []
    harden(file, tmp_path / "hard", heard=lambda epoch, of: heard.append(epoch.number))
    assert heard == [1, 2]
    other = policy(requirements=HARDEN.replace("epochs: 4", "epochs: 3"))
    heard.clear()
    harden(other, tmp_path / "hard", heard=lambda epoch, of: heard.append(epoch.number))
    assert heard == [1, 2, 3]


def test_the_evidence_names_the_price_the_curve_and_the_digests(policy, tmp_path):
    file = policy(requirements=HARDEN)
    hardened = harden(file, tmp_path / "hard")
    told = Hardening.model_validate_json(hardened.evidence.read_text())
    model = load_model(file.policy.model, file.base, nowhere)
    assert told.recipe.steps == 3
    assert told.model_before == model.digest() != told.model_after
    assert told.weights == digest(hardened.weights.read_bytes())
    assert told.price == hardened.price
    assert [point.number for point in told.curve] == [1, 2, 3, 4]
    examples = len(load_data(file.policy.data.train, model.face, file.base, nowhere)) - told.price.examples
    # The last batch holds one example alone in none of the epochs: every example is seen in each.
    assert told.price.forwards == told.price.backwards == 4 * 4 * examples
    assert told.price.robust_before < told.price.robust_after
    assert told.price.seconds > 0


def test_several_requirements_are_withstood_together(policy, tmp_path):
    """Trained against a union of two requirements, and told so."""
    requirements = HARDEN.replace(
        "harden: {against: noise,",
        """\
  - {id: turn, game: evasion, adversary: insider, within: {rotation: 15 deg}, require: robust_accuracy >= 0.2}
harden: {against: [noise, turn], unions: worst,""",
    )
    hardened = harden(policy(requirements=requirements), tmp_path / "hard")
    assert hardened.against == "Linf 0.04 or rotation 15 deg"
    assert hardened.price.robust_after > hardened.price.robust_before


def test_a_recipe_in_the_policys_stead(policy, tmp_path):
    file = policy(requirements=HARDEN)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("epochs: 1\nsteps: 1\nwarmup: 0\n")
    hardened = harden(file, tmp_path / "hard", recipe=named_recipe(str(recipe)))
    assert len(hardened.history) == 1


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_comes_along_is_sound(name):
    recipe = named_recipe(name)
    assert recipe.epochs >= recipe.warmup


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epochs: 3\nstepps: 2\n", r"r.yaml:2:1: unknown key 'stepps' in the policy; did you mean 'steps'"),
        ("epochs: 3\nreplays: 2\n", r"r.yaml:2:1: replays has no effect here"),
        ("attack: free\nloss: trades\n", r"r.yaml:2:1: loss does not go with attack: free"),
        ("epochs: 0\n", r"r.yaml:1:1: epochs: expected a number greater than 0"),
        ("against: noise\n", r"r.yaml:1:1: a recipe does not say against what"),
        ("attack: ensemble\n", r"static"),
        ("- 1\n", r"expected keys with values"),
        ("loss: tradez\n", r"unknown value 'tradez'; did you mean 'trades'"),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_line(tmp_path, text, says):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(PolicyError, match=says) as caught:
        named_recipe(str(path))
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["tradez", "../../etc/passwd", "no/such.yaml", "pgd.yaml"])
def test_a_recipe_that_is_not_there_is_said(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PolicyError, match=r"no recipe is called|cannot read the recipe") as caught:
        named_recipe(name)
    assert caught.value.remedy


def test_the_policy_of_the_hardened_model_names_the_new_weights(policy, tmp_path):
    file = policy(requirements=HARDEN)
    text = file.with_weights("hard/model.safetensors")
    copy = tmp_path / "copy.yaml"
    copy.write_text(text)
    assert read_policy(copy).policy.model.weights == "hard/model.safetensors"


@pytest.mark.parametrize(
    ("change", "family", "says"),
    [
        (
            ("harden: {against: noise, epochs: 4, steps: 3, warmup: 1, batch: 64, learning_rate: 0.002}", ""),
            PolicyError,
            "how to harden",
        ),
        (("  train: sklearn:digits/train\n", ""), PolicyError, "train"),
        (("  train: sklearn:digits/train\n", "  train: npz:absent.npz\n"), DataError, "absent.npz"),
        (
            ("torch:planted:reader\n  weights: reader.safetensors", "python:planted:templates"),
            ModelError,
            "only torch models",
        ),
    ],
)
def test_what_cannot_be_hardened_is_said_and_writes_nothing(write, tmp_path, change, family, says):
    path = write(requirements=HARDEN)
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(family, match=says) as caught:
        harden(read_policy(path), tmp_path / "hard")
    assert caught.value.remedy
    assert not (tmp_path / "hard").exists()


def test_a_folder_that_cannot_be_written_to_is_said(policy, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        harden(policy(requirements=HARDEN), tmp_path / "file" / "hard")
