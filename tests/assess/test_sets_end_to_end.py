"""Sets of every kind, from the text of a policy to its explanation and to the evidence."""

import pytest
import safetensors.torch

from redoubt.assess import assess
from redoubt.attacks.evasion import APGD, WorstOfK, WorstStart
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
    assert "worst-start, pgd, apgd-ce" in told
    assert requirement.within == "rotation 10 deg + translation 1 px, then Linf 0.05"
    assert [outcome.strategy for outcome in requirement.outcomes] == ["worst-start", "apgd-ce"]
    assert requirement.outcomes[0].fooled > 10
    assert all(example.distance <= 1 for example in requirement.examples if example.distance is not None)
