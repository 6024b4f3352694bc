"""A policy in plain sentences, and what a number of examples can tell."""

import pytest
from policy_texts import SOUND, changed, parsed

from redoubt.games import clopper_pearson
from redoubt.policy import explain
from redoubt.policy.samples import Decisive, decisive_counts, fewest_examples


def sentences(*changes):
    return explain(parsed(changed(*changes)).policy)


def requirement(name, *changes):
    (found,) = [p for p in sentences(*changes) if p.startswith(f"Requirement {name}:")]
    return found


def test_each_part_of_the_policy_is_said():
    whole = " ".join(sentences())
    for said in (
        "System digit-reader: a torch model, torch:digits.model:build with the weights in model.safetensors.",
        "inputs of 1 x 28 x 28 values from 0 to 1 and tells 10 classes apart",
        "1,000 examples of idx:mnist/test",
        "Adversary insider has the model itself, and can follow its gradients. On each input it can spend up to 4,000",
        "customer does not have the weights; of each answer of the model it sees the class it names, and nothing else",
        "up to 10,000 queries",
        "insider may change every value of an input by at most 0.3 (Linf), which is 30 % of the input range",
        "turn an image by up to 30 degrees either way, then shift it by up to 3 pixels along each axis; or change an "
        "input by a Euclidean length of at most 2 (L2)",
        "Strategies: random, cascade, adaptive, square.",
        "Strategies: random, grid.",
        "redoubt harden trains a stronger model against requirement small-noise: 20 epochs over idx:mnist/train",
    ):
        assert said in whole
    assert "It does not mean secure" in sentences()[-1]


GRADIENT = "attacks show that they failed for want of a usable gradient"


def test_the_caveat_speaks_of_the_games_that_are_there():
    assert sentences()[-1].endswith(f"It becomes `undecided` where {GRADIENT}.")
    poison = "  - {id: p, game: poisoning, adversary: insider, require: targets_flipped <= 0.2}\n"
    both = explain(parsed(SOUND.replace("harden:\n", f"{poison}harden:\n")).policy)[-1]
    assert both.endswith(f"{GRADIENT} or where victims of clean data are unlike the model.")
    start = SOUND.partition("  - id: small-noise")[0]
    alone = explain(parsed(f"{start}{poison}").policy)[-1]
    assert alone.endswith("undecided` where victims of clean data are unlike the model.")
    assert "gradient" not in alone


def test_what_the_examples_can_tell():
    assert "withstood if at least 873 are answered rightly, violated if at most 827 are" in requirement("small-noise")
    assert "withstood if at most 81 of them fall; violated, if 120 or more fall" in requirement("turn-and-shift")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("take: 1000, ", "take: 20, "), "20 examples cannot show it, even if all of them hold"),
        (("take: 1000, ", ""), "To be withstood it takes at least 23 examples"),
        (("take: 1000, ", "take: 9007199254740992, "), "To be withstood it takes at least 23 examples"),
        (("robust_accuracy >= 0.85", "robust_accuracy >= 1"), "No number of examples can show a share of 100 %"),
        (("robust_accuracy >= 0.85", "robust_accuracy >= 0"), "Every model keeps this bound"),
        (("robust_accuracy >= 0.85", "attack_success <= 100 %"), "Every model keeps this bound"),
        (
            ("robust_accuracy >= 0.85", "clean_accuracy >= 97 %"),
            "at least 97 % of the test examples rightly when nobody",
        ),
        (("norm: linf, radius: 0.3", "norm: l1, radius: 5"), "change the values of an input by at most 5 in sum (L1)"),
        (("norm: linf, radius: 0.3", "norm: l0, radius: 5"), "change at most 5 pixels of an image"),
        (("{norm: linf, radius: 0.3}", "{translation: 2 px}"), "insider may shift an image by up to 2 pixels"),
    ],
)
def test_bounds_that_cannot_be_shown_or_require_nothing_are_named(change, says):
    assert says in requirement("small-noise", change)


def test_an_adversary_whom_nobody_names_is_mentioned():
    said = sentences(("  insider: {", "  stranger: {}\n  visitor: {}\n  insider: {"))
    assert "No requirement names stranger or visitor, so nobody plays that part." in said


def test_accounts_are_told_where_there_are_several():
    said = " ".join(sentences(("budget: {queries: 10000}", "budget: {queries: 10000, accounts: 5}")))
    assert "10,000 queries. Through the guard it asks with up to 5 accounts for each input." in said
    assert "Through the guard" not in " ".join(sentences(("queries: 10000", "queries: 10000, accounts: 1")))


def test_weights_behind_an_endpoint_are_of_no_use():
    changes = (
        ("torch:digits.model:build   # a factory", "http://h/v2/models/m"),
        ("  weights: model.safetensors\n", ""),
    )
    whole = " ".join(sentences(*changes))
    assert "a served model, http://h/v2/models/m" in whole
    assert "a source of http: gives no gradients" in whole


def test_everything_of_the_data_is_said_when_take_is_absent():
    assert "It is judged on every example of idx:mnist/test." in sentences(("take: 1000, ", ""))


def test_no_sentence_is_left_open():
    for paragraph in explain(parsed(SOUND).policy):
        assert paragraph.endswith(".")
        assert "  " not in paragraph
        assert "None" not in paragraph


@pytest.mark.parametrize("bound", [0, 0.001, 0.05, 1 / 3, 0.5, 0.85, 0.97, 0.999, 1])
@pytest.mark.parametrize("trials", [1, 5, 20, 137, 400])
def test_decisive_counts_are_those_of_the_exact_interval(trials, bound):
    kept = [k for k in range(trials + 1) if clopper_pearson(k, trials).low >= bound]
    missed = [k for k in range(trials + 1) if clopper_pearson(k, trials).high < bound]
    assert decisive_counts(trials, bound) == Decisive(min(kept, default=None), max(missed, default=None))


@pytest.mark.parametrize("bound", [0.01, 0.5, 0.85, 0.99])
def test_fewest_examples_are_enough_and_one_less_is_not(bound):
    enough = fewest_examples(bound)
    assert enough is not None
    assert clopper_pearson(enough, enough).low >= bound
    if enough > 1:
        assert clopper_pearson(enough - 1, enough - 1).low < bound


def test_too_many_examples_to_say():
    assert decisive_counts(10**8, 0.85) is not None
    assert decisive_counts(10**8 + 1, 0.85) is None
    assert decisive_counts(0, 0.85) is None
