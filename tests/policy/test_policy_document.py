"""YAML 1.2 to values and places: what is taken, what is refused, and where it says so."""

import math

import pytest
from policy_texts import SOUND, line_of, parsed

from redoubt.policy.document import MAX_BYTES, MAX_DEPTH, read_document
from redoubt.records import PolicyError


def value(text):
    return read_document(text.encode() if isinstance(text, str) else text, "p.yaml").value


def refusal(text):
    with pytest.raises(PolicyError) as caught:
        value(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("No", "No"),
        ("2024-01-31", "2024-01-31"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("017", 17),
        ("0o17", 15),
        ("0xff", 255),
        ("-3", -3),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("+.5e-1", 0.05),
        ("-.inf", -math.inf),
        ("'12'", "12"),
        ('"true"', "true"),
        ("<<", "<<"),
        ("%YAML 1.2\n---\na", "a"),
        ("\ufeffa", "a"),
        ('"\\ud83d\\ude00"', "😀"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text, expected):
    assert value(f"{text}") == expected
    assert type(value(f"{text}")) is type(expected)


def test_nulls_and_nan():
    assert value("{a: , b: ~, c: null, d: Null}") == dict.fromkeys("abcd")
    assert math.isnan(value("[.nan]")[0])


def test_keys_are_text_whatever_they_look_like():
    assert value("{1: a, true: b, null: c, 0x10: d}") == {"1": "a", "true": "b", "null": "c", "0x10": "d"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3", "p.yaml:3:1: duplicate key 'a', first given in line 1"),
        ("a: {b: 1, b: 2}", "p.yaml:1:11: duplicate key 'b'"),
        ("a: &x 1\nb: *x", "p.yaml:1:4: '&x' is an anchor"),
        ("b: *x", "p.yaml:1:4: '*x' is an alias"),
        ("a: !!python/object:os.system {}", "p.yaml:1:4: a YAML tag"),
        ("a: !!str 5", "p.yaml:1:4: a YAML tag"),
        ("a: 1\n---\nb: 2", "p.yaml:2:1: a second YAML document begins here"),
        ("%YAML 1.1\n---\na: yes", "p.yaml:2:1: this is not YAML 1.2"),
        ("? [1, 2]\n: 3", "p.yaml:1:3: a key that is a list or a mapping"),
        ("a: b: c", "p.yaml:1:5: not YAML: mapping values are not allowed here"),
        ("a:\n\t- b", "p.yaml:2:1: not YAML"),
        ("a: [1, 2", "not YAML"),
        ("a: 'b", "not YAML"),
        ("a: 9007199254740993", "p.yaml:1:4: an integer beyond 2**53"),
        ("", "p.yaml:1: the policy is empty"),
        ("# nothing\n", "p.yaml:1: the policy is empty"),
        ("a: 1\nb: \x07", "p.yaml:2:4: a character that YAML does not allow"),
        ('a: 1\nb: "\\e[31m"', "p.yaml:2:4: control character U+001B"),
        ('"\\0": 1', "p.yaml:1:1: control character U+0000"),
        ('a: "\\uD800"', "p.yaml:1:4: control character U+D800"),
        ('a: 1\nb: "\\UFFFFFFFF"', "p.yaml:2:1: not YAML"),
        (b"a: 1\nb: \xff", "p.yaml:2: byte 0xff is not UTF-8"),
        ("a: 1".encode("utf-16"), "p.yaml:1: byte 0xff is not UTF-8"),
        (b"#" * (MAX_BYTES + 1), "p.yaml: the file is larger than 1 MiB"),
        ("a: " + "[" * (MAX_DEPTH + 1), f"nested deeper than {MAX_DEPTH}"),
        ("[" * 900_000, f"nested deeper than {MAX_DEPTH}"),
        ("{a: " * 200_000, f"nested deeper than {MAX_DEPTH}"),
    ],
)
def test_what_could_mislead_or_blow_up_is_refused_with_its_place(text, says):
    message = refusal(text)
    assert says in message
    assert "\n  remedy: " in message


def test_depth_at_the_limit_is_read():
    nested = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert str(value(nested)) == nested


def test_a_billion_laughs_is_refused_at_its_first_line():
    levels = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert refusal("\n".join(levels)).startswith("p.yaml:1:5: '&a0' is an anchor")


@pytest.mark.parametrize("start", ["a: *", "a: &", "a: 1\n? ", "a: @"])
def test_messages_stay_short_whatever_the_file_holds(start):
    assert len(refusal(start + "x" * 100_000 + " : [")) < 500


def test_too_many_values_are_refused():
    assert "more than 100000 values" in refusal("[" + "1," * 100_001 + "]")


def test_places_are_those_of_keys_and_elements():
    file = parsed(SOUND)
    assert str(file.place()) == "folder/policy.yaml:1:1"
    assert file.place("model", "weights").line == line_of(SOUND, "weights: model")
    assert file.place("model", "weights").column == 3
    assert file.place("requirements", 1).line == line_of(SOUND, "id: turn")
    assert file.place("requirements", 1).column == 5
    assert file.place("requirements", 0, "within", "radius").column == SOUND.split("\n")[17].index("radius") + 1
    inner = file.place("requirements", 1, "within", "any_of", 1, "radius")
    assert (inner.line, inner.column) == (line_of(SOUND, "{norm: l2"), 22)


def test_an_unknown_place_is_its_nearest_known_parent():
    file = parsed(SOUND)
    assert file.place("model", "labels", 3) == file.place("model")
    assert file.place("data", "train", "seed") == file.place("data", "train")
    assert file.place("nothing", "of", "it") == file.place()
