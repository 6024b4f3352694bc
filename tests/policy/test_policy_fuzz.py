"""Properties: a policy survives being written and read; whatever else comes in is refused as a PolicyError."""

import copy
import io
import json

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from policy_texts import GUARD, SOUND, parsed
from ruamel.yaml import YAML

from redoubt.policy import PolicyFile, explain, policy_schema
from redoubt.policy.document import read_document
from redoubt.records import PolicyError

FUZZ = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
TREE = read_document((SOUND + GUARD).encode(), "p.yaml").value
VALIDATOR = jsonschema.Draft202012Validator(policy_schema())

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True)
shares = st.floats(0, 1).map(lambda value: f"{value!r}")
finite = st.floats(1e-6, 1e6)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
# The YAML library writes a bare `?0` in a list and reads it as a key, so the question mark stays out.
labels = st.text(st.characters(categories=["L", "N"], include_characters=" '\"\\#%:,[]{}&*!|>-~.😀"), max_size=8)
norms = st.fixed_dictionaries({"norm": st.sampled_from(["linf", "l2", "l1"]), "radius": st.floats(1e-6, 1)})
turns = st.fixed_dictionaries(
    {"rotation": st.floats(0.001, 180).map("{!r} deg".format)},
    optional={"translation": st.floats(0, 20).map("{!r} px".format), "then": norms},
)
corruptions = st.fixed_dictionaries(
    {
        "corruptions": st.lists(st.sampled_from(["haze", "blur", "noise", "jpeg"]), min_size=1, unique=True),
        "severity": st.floats(0.001, 5),
    },
    optional={"at_once": st.integers(1, 3)},
)
patches = st.fixed_dictionaries(
    {"patch": st.sampled_from(["10 %", "0.5 %", 0.07])},
    optional={
        "scale": st.sampled_from([[0.8, 1.2], [1, 1]]),
        "rotation": st.floats(0, 180).map("{!r} deg".format),
        "light": st.floats(0, 1),
        "draws": st.integers(2, 50),
        "share": st.sampled_from(["50 %", 0.9]),
    },
)
simple = norms | turns | corruptions | patches
sets = simple | st.lists(simple, min_size=2, max_size=4).map(lambda parts: {"any_of": parts})
bounds = st.one_of(
    shares.map("robust_accuracy >= {}".format),
    shares.map("clean_accuracy >= {}".format),
    shares.map("attack_success <= {}".format),
)
counts = st.integers(1, 10**6)
adversaries = st.fixed_dictionaries(
    {},
    optional={
        "knows": st.sampled_from(["weights", "nothing"]),
        "observes": st.sampled_from(["label", "scores"]),
        "budget": st.fixed_dictionaries({}, optional={"passes": counts, "queries": counts}),
    },
)


@st.composite
def policies(draw):
    people = draw(st.dictionaries(names, adversaries, min_size=1, max_size=3))
    ids = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    low = draw(st.floats(-10, 10))
    policy = {
        "redoubt": 1,
        "system": draw(names),
        "seed": draw(st.integers(0, 2**53 - 1)),
        "model": {
            "source": draw(st.sampled_from(["torch:a.b:c", "onnx:m x.onnx", "sklearn:m.skops"])),
            "input": {"shape": [draw(st.integers(1, 4)), 32, 32], "range": [low, low + draw(st.floats(1, 10))]},
            "classes": 3,
            "labels": draw(st.none() | st.lists(labels, min_size=3, max_size=3)),
        },
        "data": {
            "test": draw(st.just("npz:a.npz") | st.just({"source": "csv:é.csv", "take": 7})),
            "train": "idx:x/train",
        },
        "adversaries": people,
        "requirements": [
            {
                "id": name,
                "game": "evasion",
                "adversary": draw(st.sampled_from(sorted(people))),
                "within": draw(sets),
                "require": draw(bounds),
                **draw(st.just({}) | st.just({"strategies": ["random"]})),
            }
            for name in ids
        ],
    }
    if draw(st.booleans()):
        policy["harden"] = {"against": ids[0], "learning_rate": draw(finite), "clean_share": 0.25}
    return policy


def as_yaml(tree, flow):
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = flow
    yaml.allow_unicode = True
    yaml.dump(tree, stream)
    return stream.getvalue()


@FUZZ
@given(tree=policies(), flow=st.sampled_from([True, False, None]))
def test_a_policy_written_as_yaml_and_read_again_is_the_same_policy(tree, flow):
    policy = parsed(json.dumps(tree)).policy
    written = policy.model_dump(mode="json")
    again = parsed(as_yaml(written, flow)).policy
    assert again == policy
    assert again.model_dump(mode="json") == written
    assert [error.message for error in VALIDATOR.iter_errors(written)] == []
    assert all(paragraph.endswith(".") for paragraph in explain(policy))


@FUZZ
@given(tree=policies())
def test_the_schema_for_editors_accepts_what_redoubt_accepts(tree):
    parsed(json.dumps(tree))
    assert [error.message for error in VALIDATOR.iter_errors(tree)] == []


@FUZZ
@given(raw=st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_as_policy_errors(raw):
    with pytest.raises(PolicyError) as caught:
        parsed(raw)
    assert str(caught.value).isprintable() or "\n" in str(caught.value)


def read_or_refused(text):
    try:
        return parsed(text)
    except PolicyError as error:
        return error


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats()
    | texts
    | st.sampled_from(["30 deg", "linf"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(texts | st.sampled_from(["norm", "any_of", "radius"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def paths(tree, here=()):
    yield here
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from paths(value, (*here, key))


@settings(FUZZ, max_examples=500)
@given(data=st.data())
def test_mutated_policies_are_read_or_refused_as_policy_errors(data):
    tree = copy.deepcopy(TREE)
    for _ in range(data.draw(st.integers(1, 3))):
        spots = [path for path in paths(tree) if path]
        if not spots:
            break
        *parents, last = data.draw(st.sampled_from(spots))
        node = tree
        for key in parents:
            node = node[key]
        match data.draw(st.sampled_from(["replace", "remove", "rename"])):
            case "remove":
                del node[last]
            case "rename" if isinstance(node, dict):
                node[data.draw(texts | st.sampled_from(["[key]", "norm", "any_of", "test"]))] = node.pop(last)
            case _:
                node[last] = data.draw(anything)
    text = json.dumps(tree).replace("Infinity", ".inf").replace("NaN", ".nan")
    outcome = read_or_refused(text)
    if isinstance(outcome, PolicyError):
        assert outcome.where is not None
        assert outcome.where.line >= 1
        assert outcome.remedy
    else:
        assert explain(outcome.policy)


@settings(FUZZ, max_examples=400)
@given(
    start=st.integers(0, len(SOUND) - 1),
    length=st.integers(0, 12),
    splice=st.text(alphabet=":{}[]-,&*!|>'\"%@`#?\\ \n\tax0\u2028\x85é😀", max_size=5),
)
def test_texts_with_a_few_characters_changed_are_read_or_refused(start, length, splice):
    outcome = read_or_refused(SOUND[:start] + splice + SOUND[start + length :])
    assert isinstance(outcome, PolicyFile) or (outcome.where is not None and outcome.remedy)
