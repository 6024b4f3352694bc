"""Drafts pass the check whatever was found in the model file; weights can be replaced in a policy's text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_texts import SOUND, changed, parsed

from redoubt.policy import draft, system_name
from redoubt.policy.draft import CHANGE
from redoubt.records import PolicyError

paths = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(str.strip)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    system=st.text(max_size=80),
    path=paths,
    scheme=st.sampled_from(["onnx", "sklearn", "torch"]),
    shape=st.none() | st.lists(st.integers(1, 64), min_size=1, max_size=4).map(tuple),
    classes=st.none() | st.integers(2, 1000),
    notes=st.lists(st.text(max_size=200), max_size=4),
    data=st.none() | paths,
)
def test_every_draft_is_a_sound_policy_that_says_what_was_found(system, path, scheme, shape, classes, notes, data):
    source = "torch:module:factory" if scheme == "torch" else f"{scheme}:{path}.{scheme}"
    weights = f"{path}.safetensors" if scheme == "torch" else None
    known = {"train": f"npz:{data}.npz", "test": f"csv:{data}.csv", "ledger": f"{data}.json"} if data else {}
    text = draft(system, source, weights=weights, shape=shape, classes=classes, notes=notes, **known)
    policy = parsed(text).policy
    assert {one.game for one in policy.requirements} == {"evasion"} | ({"membership", "privacy"} if data else set())
    if data:
        assert (policy.data.train.source, policy.data.test.source) == (known["train"], known["test"])
    assert (policy.model.source, policy.model.weights) == (source, weights)
    assert policy.model.input.shape == (shape or (1, 28, 28))
    assert policy.model.classes == (classes or 10)
    assert (f"{CHANGE}: the model file does not tell. One input" in text) == (shape is None)
    assert (f"{CHANGE}: the model file does not tell. In Python, model(x)" in text) == (classes is None)
    assert max(map(len, text.splitlines())) < 400


def test_notes_stand_in_comments_even_if_they_try_to_leave_them():
    text = draft("s", "onnx:m.onnx", notes=["first\nguard: {}\n", "second\u2028third\x85fourth\rredoubt: 2"])
    assert parsed(text).policy.redoubt == 1
    assert "  # first guard: {}\n" in text
    assert "  # second third fourth redoubt: 2\n" in text


def test_a_served_model_gets_an_adversary_who_asks():
    policy = parsed(draft("s", "http://h/v2/models/m", shape=(4,), classes=2)).policy
    assert policy.requirements[0].adversary == "customer"
    assert len(policy.requirements) == 1


@pytest.mark.parametrize(
    ("text", "name"),
    [("", "my-system"), ("...", "my-system"), ("a b", "a-b"), ("é", "my-system"), ("_x" * 60, "x" + "_x" * 31 + "_")],
)
def test_system_names(text, name):
    assert system_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        SOUND,
        changed(("weights: model.safetensors", "weights: 'it''s here.safetensors'   # mine")),
        changed(("weights: model.safetensors", 'weights: "model.safetensors"')),
        changed(("  weights: model.safetensors\n", "")),
        changed(
            ("  source: torch:digits.model:build   # a factory\n  weights: model.safetensors\n", ""),
            ("  classes: 10", "  classes: 10\n  source: torch:a:b"),
        ),
        changed(("weights: model.safetensors", "weights: ~")),
        SOUND.replace("\n", "\r\n"),
        "\ufeff# 😀 one\n" + SOUND,
        '{"redoubt": 1, "system": "s", "model": {"source": "torch:a:b", "input": {"shape": [4], "range": [0, 1]}, '
        '"classes": 2}, "data": {"test": "npz:a.npz"}, "adversaries": {"a": {}}, "requirements": [{"id": "r", '
        '"game": "evasion", "adversary": "a", "within": {"norm": "l2", "radius": 1}, '
        '"require": "robust_accuracy >= 0.5"}]}',
    ],
    ids=["plain", "single", "double", "absent", "source last", "null", "crlf", "bom and astral", "json"],
)
@pytest.mark.parametrize("weights", ["out/new.safetensors", "out/my new: é #1.safetensors"])
def test_weights_are_replaced_and_nothing_else(text, weights):
    before = parsed(text)
    after = parsed(before.with_weights(weights))
    assert after.policy.model.weights == weights
    model = after.policy.model.model_copy(update={"weights": before.policy.model.weights})
    assert after.policy.model_copy(update={"model": model}) == before.policy
    assert [line for line in before.text.splitlines() if "#" in line and "weights" not in line] == [
        line for line in after.text.splitlines() if "#" in line and "weights" not in line
    ]


@pytest.mark.parametrize("value", ["", ">-\n    model.safetensors"])
def test_weights_that_cannot_be_replaced_are_refused_with_their_line(value):
    file = parsed(changed(("weights: model.safetensors", f"weights: {value}")))
    with pytest.raises(PolicyError, match=r"^folder/policy.yaml:5:3: weights cannot be replaced here"):
        file.with_weights("new.safetensors")


def test_only_weights_that_the_model_takes_are_written():
    with pytest.raises(PolicyError, match="is a pickle by its name"):
        parsed(SOUND).with_weights("model.pt")
    onnx = changed(("torch:digits.model:build   # a factory", "onnx:m.onnx"), ("  weights: model.safetensors\n", ""))
    with pytest.raises(PolicyError, match="weights belong to a torch model"):
        parsed(onnx).with_weights("model.safetensors")


@pytest.mark.parametrize("source", ["torch:m:f", "sklearn:a.skops", "onnx:m.onnx", "http://h/v2/models/m"])
def test_what_takes_more_data_is_sound_once_its_comments_are_removed(source):
    text = draft("s", source, shape=(4,), classes=2)
    marks = ("# train:", "# - id: who-was-in", "# - id: guarantee", "#   game:", "#   adversary:", "#   require:")
    marks += ("#   strategies:", "#   ledger:")
    lines = [
        line.replace("# ", "", 1) if line.startswith("  ") and line.strip().startswith(marks) else line
        for line in text.splitlines()
    ]
    policy = parsed("\n".join(lines)).policy
    assert policy.data.train is not None
    found = {one.game: one for one in policy.requirements}
    assert set(found) == {"evasion", "membership", "privacy"}
    assert found["privacy"].ledger == "ledger.json"
    assert (found["membership"].strategies is None) == source.startswith(("torch", "sklearn"))


@pytest.mark.parametrize("shape", [None, (1, 28, 28), (4,), (19,), (20,)])
def test_the_guard_of_a_draft_is_sound_once_its_comments_are_removed(shape):
    text = draft("s", "onnx:m.onnx", shape=shape)
    before, mark, after = text.partition("# guard:\n")
    assert parsed(text).policy.guard is None
    guard = parsed(before + "".join(line.removeprefix("# ") for line in (mark + after).splitlines(keepends=True)))
    assert guard.policy.guard is not None
    assert guard.policy.guard.admit[0].name == "not probing"
