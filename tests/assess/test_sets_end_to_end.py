"""Sets of every kind, from the text of a policy to its explanation and to the evidence."""

import pytest
import safetensors.torch

from redoubt.assess import assess
from redoubt.attacks.evasion import (
    APGD,
    GridSearch,
    PatchEOT,
    RandomSearch,
    Universal,
    WorstCorruption,
    WorstOfK,
    WorstStart,
)
from redoubt.policy import explain

REQUIREMENT = """\
  - id: r
    game: evasion
    adversary: {adversary}
    within: {within}
    require: robust_accuracy >= 0.9"""


@pytest.fixture
def played(policy, tmp_path):
    """Assess one requirement on a few digits: its explanation, its evidence, and the pictures."""

    def play(within, suite, adversary="insider", take=40):
        file = policy(requirements=REQUIREMENT.format(within=within, adversary=adversary), take=take)
        (requirement,) = assess(file, tmp_path / "e", suite=suite).requirements
        pictures = safetensors.torch.load_file(tmp_path / "e" / "examples.safetensors")
        (told,) = [line for line in explain(file.policy) if line.startswith("Requirement r")]
        return told, requirement, pictures

    return play


def test_turned_first_and_moved_then(played):
    within = "{rotation: 10 deg, translation: 1 px, then: {norm: linf, radius: 0.05}}"
    told, requirement, _ = played(within, (WorstOfK(), WorstStart(tries=20, steps=10), APGD("ce", steps=10)))
    assert (
        "insider may turn an image by up to 10 degrees either way, then shift it by up to 1 pixels along each axis, "
        "and of what comes of it change every value of an input by at most 0.05 (Linf)" in told
    )
    assert "cascade, worst-start" in told
    assert requirement.within == "rotation 10 deg + translation 1 px, then Linf 0.05"
    assert [outcome.strategy for outcome in requirement.outcomes] == ["worst-start", "apgd-ce"]
    assert requirement.outcomes[0].fooled > 10
    assert all(example.distance <= 1 for example in requirement.examples if example.distance is not None)


def test_the_worst_combination_of_corruptions(played):
    within = "{corruptions: [blur, noise, contrast, jpeg], severity: 4}"
    suite = (WorstOfK(), GridSearch(), WorstCorruption(queries=60), APGD("ce", steps=5))
    told, requirement, _ = played(within, suite)
    assert (
        "insider may corrupt an image by blur, noise, contrast or jpeg, up to 2 of them at once in the worst "
        "combination, each up to severity 4 of 5 as in ImageNet-C" in told
    )
    assert "Strategies: random, grid, worst-of-k, worst-corruption." in told
    assert requirement.within == "contrast + blur + noise + jpeg of severity 4, 2 at once"
    assert [outcome.strategy for outcome in requirement.outcomes] == ["worst-of-k", "grid", "worst-corruption"]
    assert requirement.outcomes[0].fooled > 5
    assert not requirement.signs


def test_corruptions_with_a_slope_are_climbed_too_and_labels_are_enough(played):
    told, requirement, _ = played("{corruptions: [haze], severity: 5}", (WorstCorruption(queries=20),), "stranger")
    assert "Strategies: random, grid, worst-of-k, worst-corruption, transfer." in told
    assert "up to" not in told.split("haze")[0]
    assert requirement.outcomes[0].work.queries > 0


def test_a_patch_that_chance_places(played):
    within = "{patch: 20 %, scale: [0.9, 1.1], rotation: 10 deg, light: 10 %, draws: 10, share: 60 %}"
    suite = (PatchEOT(steps=16, draws=2, restarts=1), APGD("ce", steps=5), RandomSearch())
    told, requirement, pictures = played(within, suite, take=30)
    assert (
        "insider may print a square patch of any pixels, 20 % of the image in area, which chance then lays over any "
        "place of it, at 0.9 to 1.1 times its size, turned by up to 10 degrees and brighter or darker by up to 10 % "
        "of the input range; an input counts as fooled if at least 60 % of 10 fresh placements are answered wrongly"
        in told
    )
    assert "Strategies: random, patch-eot." in told
    assert [outcome.strategy for outcome in requirement.outcomes] == ["patch-eot", "random"]
    assert requirement.outcomes[0].fooled > 5
    assert {sign.name for sign in requirement.signs} <= {"radius-does-not-hurt"}
    assert any(key.endswith("/perturbed") for key in pictures)


def test_one_move_for_all_is_played_when_it_is_named(played):
    told, requirement, _ = played(
        "{norm: linf, radius: 0.2}\n    strategies: [universal]", (Universal(steps=20), APGD("ce", steps=5))
    )
    assert "Strategies: universal." in told
    (outcome,) = requirement.outcomes
    assert outcome.fooled >= 5
    assert outcome.work.passes == 40 * outcome.attacked
