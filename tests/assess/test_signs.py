"""Each sign is raised by a planted defence, and by no healthy model."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from digits import QUICK
from redoubt.assess import assess
from redoubt.attacks.evasion import PGD, Adaptive, EvasionAttack
from redoubt.policy import read_policy
from redoubt.records import Access, SignName, Verdict


def judged(policy, tmp_path, model, suite=QUICK, requirements=None, take=80):
    file = policy(model, take=take) if requirements is None else policy(model, requirements, take=take)
    (requirement,) = assess(file, tmp_path / "evidence", suite=suite).requirements
    return requirement


def requirement(within, bound, only=""):
    """A requirement on one line; `only` names the strategies."""
    chosen = f", strategies: [{only}]" if only else ""
    return (
        "  - {id: a, game: evasion, adversary: insider, "
        f"within: {within}, require: robust_accuracy >= {bound}{chosen}}}"
    )


@pytest.mark.parametrize(
    ("model", "signs"),
    [
        ("rounds", {SignName.VANISHING_GRADIENTS, SignName.LOSS_DOES_NOT_GROW}),
        ("randomises", {SignName.UNSTABLE_OUTPUTS}),
        ("breaks", {SignName.NAN_GRADIENTS}),
        ("anywhere", {SignName.GRADIENT_MISLEADS}),
        ("residue", {SignName.GRADIENT_MISLEADS}),
        ("misleads", {SignName.GRADIENT_MISLEADS, SignName.BLACK_BOX_BEATS_WHITE_BOX}),
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


@pytest.mark.parametrize("model", ["anywhere", "residue", "misleads"])
@pytest.mark.parametrize("within", ["{norm: linf, radius: 0.1}", "{norm: l1, radius: 1.5}"])
def test_a_wrong_gradient_is_found_out_without_any_black_box_strategy(policy, tmp_path, model, within):
    file = policy(model, requirement(within, 0.05), passes=500)
    (found,) = assess(file, tmp_path / "evidence", suite=QUICK[:2]).requirements
    assert SignName.GRADIENT_MISLEADS in {sign.name for sign in found.signs}
    assert found.verdict == Verdict.UNDECIDED


def test_whom_nobody_attacked_has_not_withstood_anything(policy, tmp_path):
    """A budget of one pass buys no gradient step."""
    file = policy("reader", requirement("{norm: linf, radius: 0.5}", 0.2, "pgd, apgd-ce"), passes=1)
    (found,) = assess(file, tmp_path / "evidence").requirements
    assert SignName.NOT_PLAYED in {sign.name for sign in found.signs}
    assert found.verdict == Verdict.UNDECIDED
    assert sum(outcome.attacked for outcome in found.outcomes) == 0


def test_a_strong_first_member_of_a_union_leaves_budget_for_the_others(policy, tmp_path):
    """The first set fools nobody however long it is played; the second fools everybody at once."""
    union = "{any_of: [{norm: linf, radius: 0.0001}, {norm: linf, radius: 0.5}]}"
    (found,) = assess(policy("reader", requirement(union, 0.2), passes=300), tmp_path / "evidence").requirements
    assert found.verdict == Verdict.VIOLATED
    assert found.measures[0].successes == 0
    assert max(example.work.passes for example in found.examples) <= 300


def test_a_probe_that_beats_the_game_leaves_the_verdict_open(policy, tmp_path):
    """Random search alone finds little where gradients find much."""
    file = policy("reader", requirement("{norm: linf, radius: 0.08}", 0.2, "random"))
    (found,) = assess(file, tmp_path / "evidence").requirements
    assert SignName.PROBE_BEATS_GAME in {sign.name for sign in found.signs}
    assert found.verdict == Verdict.UNDECIDED


@pytest.mark.parametrize("seed", range(4))
def test_a_healthy_union_raises_none_whatever_the_seed(policy, tmp_path, seed):
    union = "{any_of: [{norm: linf, radius: 0.03}, {norm: l2, radius: 0.2}]}"
    path = policy("reader", requirement(union, 0.2), take=40).path
    path.write_text(path.read_text().replace("system:", f"seed: {seed}\nsystem:"))
    (found,) = assess(read_policy(path), tmp_path / "evidence", suite=QUICK).requirements
    assert found.signs == ()
    assert found.unbounded is not None


def test_an_answer_that_is_no_number_is_a_wrong_answer(policy, tmp_path):
    """Of every class alike, also of class 0, which is what argmax makes of NaN."""
    (found,) = assess(policy("not_a_number"), tmp_path / "evidence", suite=QUICK).requirements
    assert found.verdict == Verdict.VIOLATED
    assert found.measures[0].successes == 0
    assert {example.perturbed for example in found.examples if example.clean == example.label} == {-1}


SEARCHING = (*QUICK[:2], Adaptive(passes=900), *QUICK[2:])


@pytest.mark.parametrize("model", ["rounds", "misleads"])
def test_what_the_search_mends_raises_no_sign_of_masked_gradients(policy, tmp_path, model):
    """The verdict follows from what it fooled, in a set where the plain reader withstands."""
    wanted = requirement("{norm: linf, radius: 0.04}", 0.2)
    found = judged(policy, tmp_path, model, suite=SEARCHING, requirements=wanted, take=30)
    masked = {SignName.VANISHING_GRADIENTS, SignName.GRADIENT_MISLEADS, SignName.LOSS_DOES_NOT_GROW}
    assert not masked & {sign.name for sign in found.signs}
    (note,) = found.found
    assert note.mended
    assert note.parts
    assert note.played


def test_a_random_model_can_be_decided(policy, tmp_path):
    wanted = requirement("{norm: linf, radius: 0.3}", 0.6)
    found = judged(policy, tmp_path, "randomises", suite=(Adaptive(passes=900), *QUICK), requirements=wanted, take=30)
    assert found.verdict == Verdict.VIOLATED
    assert found.found[0].parts[0].flaw == "random"


@pytest.mark.parametrize("only", ["apgd-ce, apgd-dlr", ""])
def test_a_detector_that_nobody_attacked_leaves_the_verdict_open(policy, tmp_path, only):
    wanted = requirement("{norm: linf, radius: 0.1}", 0.05, only)
    found = judged(policy, tmp_path, "refuses", suite=SEARCHING, requirements=wanted, take=30)
    raised = SignName.DETECTOR_NOT_ATTACKED in {sign.name for sign in found.signs}
    assert raised == bool(only)
    assert all(example.clean in (-1, example.label) or example.perturbed is None for example in found.examples)


def test_a_climb_that_was_cut_off_has_not_converged(policy, tmp_path):
    wanted = requirement("{norm: linf, radius: 0.1}", 0.2, "pgd")
    found = judged(policy, tmp_path, "reader", suite=(PGD(steps=8, step=0.01),), requirements=wanted)
    assert SignName.NOT_CONVERGED in {sign.name for sign in found.signs}
    assert found.verdict == Verdict.UNDECIDED


def test_a_part_that_the_search_cannot_mend_is_named(policy, tmp_path):
    """Its answer depends on the last bits of the input: no surrogate follows that."""
    wanted = requirement("{norm: linf, radius: 0.04}", 0.05)
    found = judged(policy, tmp_path, "hashes", suite=SEARCHING, requirements=wanted, take=30)
    assert SignName.PART_NOT_MENDED in {sign.name for sign in found.signs}
