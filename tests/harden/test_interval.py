"""Interval-bound training proves answers that a plain model does not, and refuses what it cannot cover."""

import pytest
import torch

from digits import NOISE
from redoubt.harden import harden, named_recipe
from redoubt.harden.losses.interval import at, certified
from redoubt.harden.run import prepare
from redoubt.perturb import LinfBall
from redoubt.records import PolicyError, Recipe

RECIPE = "{attack: none, loss: interval-bounds, epochs: 12, warmup: 5, batch: 64, learning_rate: 3e-3"


def trained(policy, folder, more=""):
    return harden(policy(requirements=f"{NOISE}\nharden: {RECIPE}, against: noise{more}}}", take=40), folder)


def test_it_proves_answers_and_goes_on_to_the_same_weights_after_a_kill(policy, tmp_path):
    hardened = trained(policy, tmp_path / "whole")
    price = hardened.price
    assert price.certified_after > 0.5
    assert price.certified_after <= price.robust_after
    file = policy(requirements=f"{NOISE}\nharden: {RECIPE}, against: noise}}", take=40)
    plain = prepare(file, "cpu")
    cpu = torch.device("cpu")
    assert certified(plain.model.module, plain.training.held_out, LinfBall(0.04, 0.0, 1.0), cpu) < 0.3

    def stop(epoch, of):
        if epoch.number == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        harden(file, tmp_path / "killed", heard=stop)
    again = harden(file, tmp_path / "killed")
    assert again.weights.read_bytes() == hardened.weights.read_bytes()


def test_the_ball_grows_smoothly_and_the_regularisers_go():
    recipe = Recipe(attack="none", loss="interval-bounds", epochs=10, warmup=4, radius=2.0)
    ball = LinfBall(0.1, 0.0, 1.0)
    radii = [at(ball, recipe, done / 20)[0].radius for done in range(21)]
    assert radii == sorted(radii)
    assert radii[0] == radii[2] == 0.0
    assert radii[10] == pytest.approx(0.2)
    assert at(ball, recipe, 0.0)[1] == 0.5
    assert at(ball, recipe, 0.5)[1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("within", "says"), [("{norm: l2, radius: 0.5}", "Linf balls only"), ("{rotation: 10 deg}", "Linf balls only")]
)
def test_other_sets_are_refused(policy, tmp_path, within, says):
    requirements = NOISE.replace("{norm: linf, radius: 0.04}", within)
    file = policy(requirements=f"{requirements}\nharden: {RECIPE}, against: noise}}")
    with pytest.raises(PolicyError, match=says) as caught:
        harden(file, tmp_path / "hard")
    assert caught.value.remedy


def test_it_needs_no_attack(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("loss: interval-bounds\n")
    with pytest.raises(PolicyError, match="attack: none"):
        named_recipe(str(path))
