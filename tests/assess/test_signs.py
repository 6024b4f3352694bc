"""Each sign is raised by a planted defence, and by no healthy model."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from digits import QUICK
from redoubt.assess import assess
from redoubt.attacks.evasion import EvasionAttack
from redoubt.records import Access, SignName, Verdict


def judged(policy, tmp_path, model, suite=QUICK, requirements=None):
    file = policy(model) if requirements is None else policy(model, requirements)
    (requirement,) = assess(file, tmp_path / "evidence", suite=suite).requirements
    return requirement


def requirement(within, bound):
    return f"  - {{id: a, game: evasion, adversary: insider, within: {within}, require: robust_accuracy >= {bound}}}"


@pytest.mark.parametrize(
    ("model", "signs"),
    [
        ("rounds", {SignName.VANISHING_GRADIENTS, SignName.LOSS_DOES_NOT_GROW}),
        ("randomises", {SignName.UNSTABLE_OUTPUTS}),
        ("breaks", {SignName.NAN_GRADIENTS}),
        ("misleads", {SignName.BLACK_BOX_BEATS_WHITE_BOX}),
        ("snaps", {SignName.RADIUS_DOES_NOT_HURT, SignName.VANISHING_GRADIENTS}),
    ],
)
def test_a_planted_defence_raises_its_signs_and_is_undecided(policy, tmp_path, model, signs):
    found = judged(policy, tmp_path, model, requirements=requirement("{norm: linf, radius: 0.07}", 0.05))
    assert signs <= {sign.name for sign in found.signs}
    assert found.verdict == Verdict.UNDECIDED
    assert "cannot be trusted" in found.reason


@pytest.mark.parametrize("model", ["reader", "saturates"])
@pytest.mark.parametrize(
    "within", ["{norm: linf, radius: 0.04}", "{norm: l2, radius: 0.25}", "{norm: l1, radius: 0.8}"]
)
def test_a_healthy_model_raises_none(policy, tmp_path, model, within):
    """Also one whose cross-entropy is flat: DLR sees through that, so there is nothing to warn of."""
    found = judged(
        policy,
        tmp_path,
        model,
        requirements=requirement(within, 0.2),
    )
    assert found.signs == ()
    assert found.verdict == Verdict.WITHSTOOD


def test_a_violated_requirement_stays_violated_whatever_the_signs(policy, tmp_path):
    found = judged(
        policy,
        tmp_path,
        "rounds",
        requirements=requirement("{norm: linf, radius: 0.5}", 0.95),
    )
    assert found.signs
    assert found.verdict == Verdict.VIOLATED


@dataclass(frozen=True)
class FallsOver(EvasionAttack):
    name: ClassVar[str] = "falls-over"
    needs: ClassVar[Access] = Access.GRADIENTS

    def run(self, model, x, y, within, budget, rng):
        return x / (1 // 0)


def test_a_strategy_that_breaks_leaves_the_verdict_open(policy, tmp_path):
    found = judged(policy, tmp_path, "reader", suite=(*QUICK, FallsOver()))
    assert SignName.BROKEN_STRATEGY in {sign.name for sign in found.signs}
    assert found.verdict == Verdict.UNDECIDED
    assert "ZeroDivisionError" in next(outcome.broke for outcome in found.outcomes if outcome.strategy == "falls-over")
