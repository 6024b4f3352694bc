"""Writes the pages and files that are made from the code.  A test fails when they are stale: run this again then."""

from pathlib import Path
from typing import Any

from redoubt.policy import policy_schema, schema_text

ROOT = Path(__file__).resolve().parent.parent

_HEAD = """\
# The policy

<!-- Made by docs/generate.py from the schema. Edit the descriptions in src/redoubt/records/policy.py instead. -->

A policy is one YAML 1.2 file: what a system must withstand, and how that is judged. `redoubt init MODEL` writes a first
one, and `redoubt check POLICY` says in plain sentences what it means.

```yaml
redoubt: 1
system: digit-reader
model:
  source: torch:digits.model:build
  weights: model.safetensors
  input: {shape: [1, 28, 28], range: [0, 1]}
  classes: 10
data:
  train: idx:mnist/train
  test: {source: idx:mnist/test, take: 1000, seed: 0}
adversaries:
  insider: {knows: weights, budget: {passes: 4000}}
requirements:
  - id: small-noise
    game: evasion
    adversary: insider
    within: {norm: linf, radius: 0.3}
    require: robust_accuracy >= 0.85
  - id: turn-and-shift
    game: evasion
    adversary: insider
    within: {rotation: 30 deg, translation: 3 px}
    require: robust_accuracy >= 0.90
harden: {against: small-noise, epochs: 20}
```

Rules of the language:

- Every key is known, or the file is refused with its line, what was expected and the nearest known key.
- Quantities carry their unit: `30 deg`, `3 px`.
- `yes`, `on` and dates are text, as YAML 1.2 has it. Anchors, aliases, tags and duplicate keys are refused, and so are
  files of more than 1 MiB.
- Relative paths start at the policy's folder.
- Weights are `.safetensors`, scikit-learn models `.skops`. What may hold a pickle is refused.
- A named strategy that cannot be played by that adversary, in that set, is an error.

Editors complete and check a policy whose first line names the
[JSON Schema](https://json-schema.org/), which `redoubt schema --output policy.schema.json` writes:

```yaml
# yaml-language-server: $schema=policy.schema.json
```
"""


def policy_reference() -> str:
    """The page `docs/policy.md`: one table for each mapping that a policy is made of."""
    schema = policy_schema()
    definitions = schema["$defs"]
    records = [("Policy", schema), *((name, definitions[name]) for name in _in_reading_order(schema, definitions))]
    return "\n".join([_HEAD, *(_section(name, record, definitions) for name, record in records)])


def _in_reading_order(schema: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    """Names of the records below the top, each after the one that first refers to it."""
    found: list[str] = []
    for name in _references(schema.get("properties", {})):
        for each in [name, *_in_reading_order(definitions[name], definitions)]:
            if each not in found and "properties" in definitions[each]:
                found.append(each)
    return found


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"].rpartition("/")[2]] if "$ref" in node else []
        return own + [name for value in node.values() for name in _references(value)]
    return [name for value in node for name in _references(value)] if isinstance(node, list) else []


def _section(name: str, record: dict[str, Any], definitions: dict[str, Any]) -> str:
    required = record.get("required", [])
    rows = [
        f"| `{key}` | {_type(value, definitions)} | {_default(key, value, required)} | {_cell(value['description'])} |"
        for key, value in record["properties"].items()
    ]
    head = ["| key | value | when absent | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {name}", "", " ".join(record["description"].split()), "", *head, *rows, ""])


def _default(key: str, value: dict[str, Any], required: list[str]) -> str:
    if key in required:
        return "**required**"
    default = value.get("default")
    return "" if default is None or isinstance(default, dict) else f"`{default}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _type(value: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What may stand there, in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        target = definitions[name]
        return f"[{name}](#{name.lower()})" if "properties" in target else _type(target, definitions)
    if "anyOf" in value:
        members = [member for member in value["anyOf"] if member.get("type") != "null"]
        return " or ".join(_type(member, definitions) for member in members)
    if "const" in value or "enum" in value:
        return ", ".join(f"`{choice}`" for choice in value.get("enum", [value.get("const")]))
    match value["type"]:
        case "array" if "prefixItems" in value:
            return f"list of {len(value['prefixItems'])} numbers"
        case "array":
            return f"list: {_type(value['items'], definitions)}"
        case "object":
            return f"name: {_type(next(iter(value['patternProperties'].values())), definitions)}, …"
        case "string":
            return _text(value.get("pattern", ""))
        case kind:
            return f"{'whole number' if kind == 'integer' else 'number'}{_bounds(value)}"


def _text(pattern: str) -> str:
    for unit, words in (("deg", "angle in `deg`"), ("px", "length in `px`"), ("_accuracy", "bound")):
        if unit in pattern:
            return words
    return "name" if pattern else "text"


def _bounds(value: dict[str, Any]) -> str:
    words = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    return ",".join(f" {sign} {value[word]:,}" for word, sign in words if word in value)


def main() -> None:
    """Write everything."""
    for path, text in (("docs/policy.md", policy_reference()), ("schema/policy.schema.json", schema_text())):
        target = ROOT / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
