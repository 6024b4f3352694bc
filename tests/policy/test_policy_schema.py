"""The published schema and the reference are those of the code, and say enough."""

import importlib.util
import json
import re
from pathlib import Path

import jsonschema
import pytest
from policy_texts import SOUND, parsed
from ruamel.yaml import YAML

from redoubt.policy import policy_schema, schema_text
from redoubt.policy.document import read_document

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = policy_schema()


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def records():
    return {"Policy": SCHEMA} | {name: d for name, d in SCHEMA["$defs"].items() if "properties" in d}


def errors(tree):
    return list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(tree))


def test_the_committed_schema_is_that_of_the_code():
    committed = (ROOT / "schema" / "policy.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "stale: run python docs/generate.py"


def test_the_committed_reference_is_that_of_the_code(generate):
    committed = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    assert committed == generate.policy_reference(), "stale: run python docs/generate.py"


def test_the_schema_is_sound_and_named():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["$id"]
    assert SCHEMA["title"] == "Redoubt policy"


def test_every_key_has_a_description_and_it_stands_in_the_reference(generate):
    reference = generate.policy_reference()
    for name, record in records().items():
        assert f"\n## {name}\n" in reference
        section = reference.split(f"\n## {name}\n")[1].split("\n## ")[0]
        for key, value in record["properties"].items():
            assert value.get("description"), (name, key)
            (row,) = [line for line in section.splitlines() if line.startswith(f"| `{key}` |")]
            assert value["description"].replace("|", "\\|") in row


def test_links_in_the_reference_lead_somewhere(generate):
    reference = generate.policy_reference()
    headings = {heading.lower() for heading in re.findall(r"^## (\w+)$", reference, re.MULTILINE)}
    links = re.findall(r"\]\(#(\w+)\)", reference)
    assert len(links) > 10
    assert set(links) <= headings


def test_the_example_in_the_reference_is_a_sound_policy(generate):
    example = generate.policy_reference().split("```yaml\n")[1].split("```")[0]
    assert parsed(example).policy.system == "digit-reader"


def test_sets_are_an_any_of_that_editors_understand():
    assert "oneOf" not in json.dumps(SCHEMA)
    assert len(SCHEMA["$defs"]["EvasionRequirement"]["properties"]["within"]["anyOf"]) == 6


def test_the_schema_accepts_the_sound_policy():
    assert errors(read_document(SOUND.encode(), "p").value) == []
    assert errors(YAML(typ="safe", pure=True).load(SOUND)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("radius: 0.3", "radios: 0.3"),
        ("rotation: 30 deg", "rotation: 30"),
        ("{rotation: 30 deg, translation: 3 px}", "{}"),
        ("robust_accuracy >= 0.85", "robust_accuracy <= 0.85"),
        ("redoubt: 1", "redoubt: 2"),
        ("  insider: {", "  inside r: {"),
        ("take: 1000", "take: '1000'"),
        ("game: evasion\n    adversary: insider", "adversary: insider"),
    ],
)
def test_the_schema_refuses_what_redoubt_refuses(old, new):
    assert SOUND.count(old) == 1
    assert errors(read_document(SOUND.replace(old, new).encode(), "p").value)
