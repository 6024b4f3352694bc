"""Requirements of certified accuracy: `proved`, `violated`, `undecided`, and evidence that says which and why."""

import pytest

from digits import QUICK
from redoubt.assess import assess
from redoubt.assess.proofs import SEARCH
from redoubt.bounds import Region, from_torch, misclassified, prove
from redoubt.games import conclude, evasion_measures
from redoubt.models import load_model
from redoubt.policy import explain, read_policy
from redoubt.records import Bound, Evidence, PolicyError, Sign, SignName, Verdict

CERTIFIED = """\
  - id: certain
    game: evasion
    adversary: insider
    within: {within}
    require: certified_accuracy >= {bound}
    branches: {branches}"""


def certified(within="{norm: linf, radius: 0.01}", bound=0.5, branches=60):
    return CERTIFIED.format(within=within, bound=bound, branches=branches)


def test_proved_when_enough_examples_are_certified(policy, tmp_path):
    file = policy(requirements=certified(), take=60)
    evidence = assess(file, tmp_path / "e", suite=QUICK)
    (requirement,) = evidence.requirements
    assert requirement.verdict is Verdict.PROVED
    assert "as float32 computes it" in requirement.reason
    assert "rests on the sample of 60" in requirement.reason
    assert Evidence.model_validate_json((tmp_path / "e" / "evidence.json").read_bytes()) == evidence
    measures = {m.measure: m.successes for m in requirement.measures}
    assert measures["certified_accuracy"] == requirement.proofs.proved == sum(e.certified for e in requirement.examples)
    assert measures["certified_accuracy"] <= measures["robust_accuracy"]
    assert all(example.robust for example in requirement.examples if example.certified)
    assert assess(file, tmp_path / "e", suite=QUICK) == evidence  # from what was kept


def test_each_answer_is_that_of_a_proof_by_hand(policy, tmp_path):
    file = policy(requirements=certified(within="{norm: linf, radius: 0.05}", branches=500), take=20)
    (requirement,) = assess(file, tmp_path / "e", suite=QUICK[:1]).requirements
    model = load_model(file.policy.model, file.base, lambda *_: None)
    graph = from_torch(model.module, (1, 8, 8))
    from redoubt.data import load_data

    data = load_data(file.policy.data.test, model.face, file.base, lambda *_: None)
    for example in requirement.examples:
        if not example.robust:
            assert not example.certified
            continue
        x = data.x[example.row].double().reshape(1, -1)
        region = Region((x - 0.05).clamp(0, 1), (x + 0.05).clamp(0, 1))
        answer = prove(graph, misclassified(region, example.label, 10)).answer
        assert (answer == "proved") == example.certified


def test_what_branch_and_bound_finds_counts_against_the_model(policy, tmp_path):
    """With a strategy too weak to find anything, the search for proofs finds the wrong answers."""
    weak = QUICK[3:]
    file = policy(requirements=certified(within="{norm: linf, radius: 0.25}", bound=0.9), take=40)
    (requirement,) = assess(file, tmp_path / "e", suite=weak).requirements
    assert requirement.verdict is Verdict.VIOLATED
    found = [example for example in requirement.examples if example.strategy == SEARCH]
    assert len(found) == requirement.proofs.fooled > 10
    assert all(example.perturbed != example.label and example.distance <= 0.2501 for example in found)
    robust = next(m for m in requirement.measures if m.measure == "robust_accuracy")
    assert robust.successes == sum(example.robust for example in requirement.examples)


@pytest.mark.parametrize("within", ["{norm: l2, radius: 0.05}", "{norm: l1, radius: 0.1}"])
def test_balls_of_other_norms_are_proved_too(policy, tmp_path, within):
    (requirement,) = assess(policy(requirements=certified(within), take=40), tmp_path / "e", suite=QUICK).requirements
    assert requirement.verdict is Verdict.PROVED


def test_of_a_union_every_member_must_be_proved(policy, tmp_path):
    both = "{any_of: [{norm: linf, radius: 0.01}, {norm: linf, radius: 0.2}]}"
    (requirement,) = assess(policy(requirements=certified(both), take=30), tmp_path / "e", suite=QUICK).requirements
    (alone,) = assess(policy(requirements=certified(), take=30), tmp_path / "f", suite=QUICK).requirements
    assert requirement.proofs.proved < alone.proofs.proved


def test_a_model_that_cannot_be_followed_is_undecided_and_says_why(policy, tmp_path):
    file = policy(model="rounds", requirements=certified(), take=30)
    (requirement,) = assess(file, tmp_path / "e", suite=QUICK).requirements
    assert requirement.verdict is Verdict.UNDECIDED
    assert requirement.proofs.proved == 0
    assert "round" in requirement.proofs.obstacle
    assert "certified_accuracy" not in {m.measure for m in requirement.measures}


def verdict(certified, robust, total, bound=0.5, signs=()):
    measures = evasion_measures(total, robust, total, certified)
    return conclude(Bound(measure="certified_accuracy", sense=">=", value=bound), measures, signs)


def test_how_it_is_concluded():
    sign = Sign(name=SignName.VANISHING_GRADIENTS, explanation="Gradients vanish.")
    assert verdict(80, 90, 100)[0] is Verdict.PROVED
    assert verdict(80, 90, 100, signs=(sign,))[0] is Verdict.PROVED  # no failed attack has a part in it
    assert verdict(55, 90, 100)[0] is Verdict.UNDECIDED  # the interval reaches below the bound
    assert "too few to tell" in verdict(55, 90, 100)[1]
    assert verdict(40, 90, 100)[0] is Verdict.UNDECIDED
    assert "Of 50 more" in verdict(40, 90, 100)[1]
    assert verdict(10, 20, 100)[0] is Verdict.VIOLATED
    assert verdict(None, 90, 100)[0] is Verdict.UNDECIDED


@pytest.mark.parametrize(
    ("within", "line"),
    [
        ("{rotation: 10 deg}", 19),
        ("{norm: l0, radius: 3}", 19),
        ("{any_of: [{norm: linf, radius: 0.1}, {translation: 1 px}]}", 19),
    ],
)
def test_sets_in_which_nothing_can_be_proved_are_refused_with_their_line(write, within, line):
    path = write(requirements=certified(within))
    with pytest.raises(PolicyError, match="nothing can be proved") as caught:
        read_policy(path)
    assert f"policy.yaml:{line}" in str(caught.value)


def test_branches_belong_to_certificates_only(write):
    path = write(requirements=certified().replace("certified_accuracy", "robust_accuracy"))
    with pytest.raises(PolicyError, match="branches belongs to certified_accuracy"):
        read_policy(path)


def test_check_says_what_a_certificate_is(write):
    told = " ".join(explain(read_policy(write(requirements=certified())).policy))
    assert "it must be proved that nothing insider may do changes the answer" in told
    assert "60 sub-problems for each example" in told


def test_the_command_line_ends_with_0_for_proved(write, tmp_path, monkeypatch, capsys):
    import sys

    from redoubt.cli.app import run

    path = write(requirements=certified(), take=40, passes=300)
    monkeypatch.setattr(sys, "argv", ["redoubt", "assess", str(path), "-o", str(tmp_path / "e"), "--workers", "1"])
    assert run() == 0
    assert "proved" in capsys.readouterr().out
    page = (tmp_path / "e" / "report.html").read_text()
    assert "meets its policy by proof" in page
    assert "are certified: nothing in the set changes the answer" in page
    for name in ("junit.xml", "results.sarif"):
        found = list((tmp_path / "e").glob(f"*{name.rpartition('.')[2]}"))
        assert found
