"""What is wrong with a policy: message, line, column and remedy."""

import pickle

import pytest
from policy_texts import SOUND, changed, line_of, parsed, refused

from redoubt.policy import PolicyProblems
from redoubt.policy.problems import MOST_REPORTED
from redoubt.records import PolicyError

CASES = [
    # unknown keys
    ("radius: 0.3", "radios: 0.3", "unknown key 'radios' in within; did you mean 'radius'? known: norm, radius"),
    ("classes: 10", "classes: 10\n  clases: 10", "unknown key 'clases' in model; did you mean 'classes'?"),
    ("radius: 0.3", "radius: 0.3, rotation: 3 deg", "unknown key 'rotation' in within; known: norm, radius"),
    ("observes: label", "controls: {train_fraction: 0.1}", "'controls' in customer: this version"),
    ("queries: 10000", "accounts: 0", "accounts: expected a number greater than 0, got 0"),
    ("{rotation: 30 deg,", "{rotatoin: 30 deg,", "unknown key 'rotatoin' in any_of[0]; did you mean 'rotation'?"),
    ("against: small-noise", "against: small-noise\n'[key]': 1", "unknown key '[key]' in the policy; known: redoubt,"),
    ("{knows: weights,", "{'[key]': weights,", "unknown key '[key]' in insider; known: knows, observes, budget"),
    ("  insider: {", "  '[key]': {", "'[key]' is no name"),
    # games
    ("game: evasion\n    adversary: insider", "game: extraction\n    adversary: insider", "does not play it yet"),
    ("game: evasion\n    adversary: insider", "game: evason\n    adversary: insider", "unknown game 'evason'; did you"),
    ("game: evasion\n    adversary: insider", "game: [1]\n    adversary: insider", "unknown game a list"),
    # units and bounds
    ("rotation: 30 deg", "rotation: 30", "rotation: missing unit: 30 what? expected 'deg'"),
    ("rotation: 30 deg", "rotation: 30 rad", "rotation: unknown unit 'rad'; expected 'deg'"),
    ("translation: 3 px", "translation: true", "translation: expected a number with unit 'px'"),
    ("rotation: 30 deg", "rotation: 200 deg", "rotation: expected a number of at most 180"),
    ("{rotation: 30 deg, translation: 3 px}", "{rotation: 0 deg}", "rotation and translation are both zero"),
    ("robust_accuracy >= 0.85", "robust_accuracy > 0.85", "require: expected '<measure> >= <number>'"),
    ("robust_accuracy >= 0.85", "robust_accuracy <= 0.85", "bounded from the other side"),
    ("robust_accuracy >= 0.85", "fidelity >= 0.85", "unknown measure 'fidelity'"),
    ("robust_accuracy >= 0.85", "robust_accuracy >= 85", "a share lies between 0 and 1"),
    ("robust_accuracy >= 0.85", "0.85", "require: expected a bound in words"),
    ("{rotation: 30 deg, translation: 3 px}", "{patch: 60 %}", "patch: expected a number of at most 0.5"),
    ("{rotation: 30 deg, translation: 3 px}", "{patch: 10 px}", "patch: unknown unit 'px'; expected '%'"),
    ("{rotation: 30 deg, translation: 3 px}", "{patch: 10 %, scale: [2, 1]}", "expected [least, greatest]"),
    ("{rotation: 30 deg, translation: 3 px}", "{corruptions: [fog], severity: 3}", "unknown value 'fog'"),
    ("{rotation: 30 deg, translation: 3 px}", "{corruptions: [blur], severity: 6}", "expected a number of at most 5"),
    ("{rotation: 30 deg, translation: 3 px}", "{corruptions: [blur, blur], severity: 1}", "blur is named twice"),
    # values
    ("radius: 0.3", "radius: -1", "radius: expected a number greater than 0.0, got -1"),
    ("radius: 0.3", "radius: .nan", "radius: expected a finite number"),
    ("radius: 0.3", "radius: '0.3'", "radius: expected a number, got '0.3'"),
    ("norm: linf", "norm: Linf", "norm: unknown value 'Linf'; did you mean 'linf'? expected: linf, l2, l1, l0"),
    ("strategies: [random", "strategies: [rand", "strategies[0]: unknown value 'rand'"),
    ("strategies: [random, grid]", "strategies: []", "strategies: expected at least 1 entry, got none"),
    ("knows: weights", "knows: [weights]", "knows: expected weights or nothing, got a list"),
    ("classes: 10", "classes: 1", "classes: expected a number of at least 2, got 1"),
    ("classes: 10", "classes: '10'", "classes: expected a whole number, got '10'"),
    ("classes: 10", "classes: 2.5", "classes: expected a whole number, got 2.5"),
    ("take: 1000", "take: true", "take: expected a whole number, got true"),
    ("take: 1000", "take: yes", "take: expected a whole number, got 'yes'"),
    ("system: digit-reader", "system: digit reader", "system: 'digit reader' is no name"),
    ("system: digit-reader", "system: 7", "system: expected text (put it in quotes"),
    ("  insider: {", "  inside r: {", "'inside r' is no name"),
    ("redoubt: 1", "redoubt: 2", "redoubt: expected 1, got 2"),
    ("redoubt: 1", "redoubt: true", "redoubt: expected 1, got true"),
    ("range: [0, 1]", "range: [1, 0]", "expected [low, high] with low < high"),
    ("range: [0, 1]", "range: [0]", "range has too few entries: entry 2 is missing"),
    ("range: [0, 1]", "range: [0, 1, 2]", "range: expected at most 2 entries, got 3"),
    ("range: [0, 1]", "range: [0, 1], mean: [1, 2, 3]", "mean has 3 numbers; expected 1"),
    ("shape: [1, 28, 28]", "shape: 28", "shape: expected a list, got 28"),
    ("shape: [1, 28, 28]", "shape: [1, 28, x]", "shape[2]: expected a whole number, got 'x'"),
    ("classes: 10", "classes: 10\n  labels: [a, b]", "labels names 2 classes, but classes is 10"),
    ("{norm: linf, radius: 0.3}", "linf", "within: expected a mapping: {norm: …, radius: …}"),
    ("{source: idx:mnist/test, take: 1000, seed: 0}", "5", "test: expected a source in words, or a mapping"),
    (
        "{knows: weights, budget: {passes: 4000}}",
        "5",
        "insider: expected a mapping with keys of knows, observes, budget",
    ),
]


@pytest.mark.parametrize(("old", "new", "says"), CASES, ids=[case[2][:40] for case in CASES])
def test_each_error_stands_in_its_line_and_has_a_remedy(old, new, says):
    text = changed((old, new))
    error = refused(text)
    assert not isinstance(error, PolicyProblems), str(error)
    assert says in error.what
    assert error.remedy
    assert error.where is not None
    first, last = line_of(text, new), line_of(text, new) + new.count("\n")
    assert first <= error.where.line <= last
    assert error.exit_code == 3


def test_the_whole_message_as_it_is_printed():
    assert str(refused(changed(("radius: 0.3", "radios: 0.3")))) == (
        "folder/policy.yaml:18:26: unknown key 'radios' in within; did you mean 'radius'? known: norm, radius\n"
        "  remedy: write 'radius'"
    )


def test_a_set_of_two_kinds_is_told_about_any_of():
    error = refused(changed(("radius: 0.3", "radius: 0.3, rotation: 3 deg")))
    assert "join several sets with any_of" in error.remedy


@pytest.mark.parametrize(
    ("old", "missing", "parent"),
    [
        ("    within: {norm: linf, radius: 0.3}\n", "within", "- id: small-noise"),
        ("  classes: 10\n", "classes", "model:"),
        ("system: digit-reader\n", "system", "redoubt: 1"),
        ("norm: linf, ", "norm", "within: {radius"),
    ],
)
def test_a_missing_key_names_the_line_of_its_parent(old, missing, parent):
    text = changed((old, ""))
    error = refused(text)
    assert f"missing key '{missing}' in" in error.what
    assert error.where is not None
    assert error.where.line == line_of(text, parent)
    assert error.remedy.startswith(f"add {missing}: ")


def test_all_problems_of_a_file_are_reported_together_in_the_order_of_the_file():
    text = changed(("seed: 0", "seed: -1"), ("radius: 0.3", "radios: 0.3"), ("classes: 10", "classes: 1"))
    error = refused(text)
    assert isinstance(error, PolicyProblems)
    assert [str(p.where) for p in error.problems] == [
        "folder/policy.yaml:7:3",
        "folder/policy.yaml:10:46",
        "folder/policy.yaml:18:26",
    ]
    assert (error.what, error.where) == (error.problems[0].what, error.problems[0].where)
    lines = str(error).splitlines()
    assert len(lines) == 6
    assert all(line.startswith("  remedy: ") for line in lines[1::2])


def test_problems_cross_process_boundaries_whole():
    error = refused(changed(("seed: 0", "seed: -1"), ("classes: 10", "classes: 1")))
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is PolicyProblems
    assert str(again) == str(error)


def test_a_flood_of_problems_is_cut_off_and_counted():
    error = refused(SOUND + "".join(f"key{n}: 1\n" for n in range(50)))
    assert isinstance(error, PolicyProblems)
    assert len(error.problems) == MOST_REPORTED
    assert str(error).endswith("and 30 more problems")


def test_a_game_to_come_is_the_only_problem_of_its_requirement():
    error = refused(SOUND.replace("harden:", "  - {id: theft, game: extraction, require: fidelity <= 0.8}\nharden:"))
    assert not isinstance(error, PolicyProblems)
    assert "game 'extraction': this version of Redoubt does not play it yet" in error.what


@pytest.mark.parametrize(("text", "got"), [("- 1", "a list"), ("5", "5"), ("guard", "'guard'")])
def test_a_file_that_is_no_mapping_says_what_was_expected(text, got):
    error = refused(text)
    assert f"expected keys with values, got {got}" in error.what
    assert "requirements" in error.remedy


def test_no_requirements_is_an_error():
    start = SOUND.index("requirements:")
    error = refused(SOUND[:start] + "requirements: []\n")
    assert "requirements: expected at least 1 entry, got none" in error.what


def test_a_file_that_cannot_be_read(tmp_path):
    from redoubt.policy import read_policy

    with pytest.raises(PolicyError, match="cannot read the policy: No such file"):
        read_policy(tmp_path / "none.yaml")
    with pytest.raises(PolicyError, match="cannot read the policy: Is a directory"):
        read_policy(tmp_path)


def test_the_file_as_read():
    file = parsed(SOUND)
    assert file.text == SOUND
    assert str(file.base) == "folder"
    assert file.policy.requirements[1].require.value == pytest.approx(0.1)
