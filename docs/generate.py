"""Writes the pages and files that are made from the code.  A test fails when they are stale: run this again then."""

import inspect
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from ruamel.yaml import YAML

from redoubt.policy import policy_schema, schema_text
from redoubt.records import Access, Adversary, Within

ROOT = Path(__file__).resolve().parent.parent

_HEAD = """\
# The policy

<!-- Made by docs/generate.py from the schema. Edit the descriptions in src/redoubt/records instead. -->

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
        case "boolean":
            return "`true`, `false`"
        case "string":
            return _text(value.get("pattern", ""))
        case kind:
            return f"{'whole number' if kind == 'integer' else 'number'}{_bounds(value)}"


def _text(pattern: str) -> str:
    units = (
        ("deg", "angle in `deg`"),
        ("px", "length in `px`"),
        ("min", "duration in `s`, `min`, `h` or `d`"),
        ("_accuracy", "bound"),
    )
    for unit, words in units:
        if unit in pattern:
            return words
    return "name" if pattern else "text"


def _bounds(value: dict[str, Any]) -> str:
    words = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    return ",".join(f" {sign} {value[word]:,}" for word, sign in words if word in value)


# ── the commands ─────────────────────────────────────────────────────────────────────────────────────────────────

_COMMANDS_HEAD = """\
# The commands

<!-- Made by docs/generate.py from the program's own help. Edit the docstrings in src/redoubt/cli/ instead. -->

`redoubt COMMAND --help` says the same in the terminal.
"""


def commands_reference() -> str:
    """The page `docs/commands.md`: each command's help, arguments and options."""
    import typer

    import redoubt.cli  # noqa: F401  its modules register the commands
    from redoubt.cli.app import app

    group = typer.main.get_command(app)
    sections = [_command(name, command, "##") for name, command in group.commands.items()]
    return "\n".join([_COMMANDS_HEAD, *sections])


def _command(name: str, command: Any, level: str) -> str:
    """One command; of a group, its help and then each of its commands."""
    if hasattr(command, "commands"):
        inner = [_command(f"{name} {each}", found, f"{level}#") for each, found in command.commands.items()]
        return "\n".join([f"{level} redoubt {name}", "", _help(command), "", *inner])
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join(
        ["redoubt", name, "[OPTIONS]" if options else ""]
        + [p.name.upper() if p.required else f"[{p.name.upper()}]" for p in arguments]
    )
    rows = [f"| `{p.name.upper()}` | {_cell(p.help)} | {_when_absent(p)} |" for p in arguments]
    rows += [f"| {', '.join(f'`{o}`' for o in p.opts)} | {_cell(p.help)} | {_when_absent(p)} |" for p in options]
    table = ["| argument or option | meaning | when absent |", "|---|---|---|", *rows]
    rest = ["", *table, ""] if rows else [""]
    return "\n".join(
        [f"{level} redoubt {name}", "", "```sh", " ".join(usage.split()), "```", "", _help(command), *rest]
    )


def _help(command: Any) -> str:
    return inspect.cleandoc(command.help).replace("Example: ", "Example:\n\n    ")


def _when_absent(parameter: Any) -> str:
    if parameter.required:
        return "**required**"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    return "" if parameter.default is None or isinstance(parameter.default, bool) else f"`{parameter.default}`"


# ── the map ──────────────────────────────────────────────────────────────────────────────────────────────────────

_MAP_HEAD = """\
---
hide: [navigation, toc]
---

# The map

<!-- Made by docs/generate.py from docs/map.yaml, docs/ids.yaml and the strategies themselves. Edit those instead. -->

What exists today: one row per threat. The strategies are those that `redoubt assess` plays when a policy names none,
in their order, each in those of the sets that it fits (`square` in no L1 ball, for example). `clean_accuracy` is
measured beside the measures of every row of evasion. Threats that are kept out by a gate instead of measured by a game
name its commands. A guard signal is what a rule of the guard can go by; what each does not see
stands in [The guard](guard.md#signals-and-what-they-do-not-see). A threat without a row is not assessed.

"""


def load_yaml(path: Path) -> Any:
    """A plain YAML file of ours."""
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def map_page() -> str:
    """The page `docs/map.md`: threat, game, strategies, measures, hardening, guard signal, tests, ids."""
    catalogues = load_yaml(ROOT / "docs/ids.yaml")
    titles = {"atlas": "MITRE ATLAS", "nist": "NIST AI 100-2", "owasp": "OWASP ML"}
    heads = ["threat", "game", "strategies", "measures", "hardening", "guard signal", "tests", *titles.values()]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in load_yaml(ROOT / "docs/map.yaml"):
        cells = [
            row["threat"],
            row.get("game") or "none: " + ", ".join(f"`redoubt {name}`" for name in row["commands"]),
            ", ".join(f"`{name}`" for name in strategies_of(row)) or "–",
            ", ".join(f"`{name}`" for name in row["measures"]) or "–",
            row["hardening"],
            ", ".join(f"`{name}`" for name in row["guard"]) or "none yet",
            "<br>".join(f"`{path}`" for path in row["tests"]),
        ]
        for catalogue in titles:
            names = catalogues[catalogue]["ids"]
            cells.append("<br>".join(f"{i} {names[i]}" for i in row["ids"] if i in names))
        lines.append(f"| {' | '.join(cells)} |")
    releases = "Releases: " + "; ".join(catalogues[name]["release"] for name in titles) + "."
    return _MAP_HEAD + "\n".join([*lines, "", releases, ""])


def strategies_of(row: dict[str, Any]) -> list[str]:
    """The standard strategies that a row's adversary can play in its sets, in their order; or those it names."""
    from redoubt.assess import STANDARD
    from redoubt.assess.suite import choose
    from redoubt.models import Face
    from redoubt.perturb import build_set

    if "game" not in row:
        return []
    access: Access = Adversary.model_validate(row["adversary"]).access
    if row["game"] in ("memorisation", "privacy"):
        return list(row["strategies"])  # what stands in the row: nothing is chosen there by a set or an access
    if row["game"] == "membership":
        return _of_membership(row["inputs"], access)
    if row["game"] == "backdoor":
        return _of_backdoor(access)
    if row["game"] == "poisoning":
        return _of_poisoning(row["measures"], row["labels"])
    faces = [Face((6,) if "features" in within else (1, 28, 28), 0.0, 1.0, 10) for within in row["within"]]
    sets = [
        build_set(TypeAdapter(Within).validate_python(within), face)
        for within, face in zip(row["within"], faces, strict=True)
    ]
    played = {bout.attack.name for within in sets for bout in choose(within, access, row.get("strategies"))}
    return [attack.name for attack in STANDARD if attack.name in played]


def _of_backdoor(access: Access) -> list[str]:
    from redoubt.attacks.backdoor.invert import TRIGGER_SUITE

    return [strategy.name for strategy in TRIGGER_SUITE] if access is Access.GRADIENTS else []


def _of_membership(shapes: list[list[int]], access: Access) -> list[str]:
    from redoubt.assess.membership.plan import MEMBERSHIP_SUITE
    from redoubt.models import Face

    faces = [Face(tuple(shape), 0.0, 1.0, 10) for shape in shapes]
    return [
        attack.name
        for attack in MEMBERSHIP_SUITE
        if attack.needs <= access and any(attack.refuses(face) is None for face in faces)
    ]


def _of_poisoning(measures: list[str], labels: str) -> list[str]:
    from redoubt.policy.poisoning_strategies import playable_poisoning
    from redoubt.records import PoisoningRequirement

    said = {"id": "r", "game": "poisoning", "adversary": "a", "labels": labels}
    requirements = [PoisoningRequirement.model_validate(said | {"require": f"{one} <= 0.5"}) for one in measures]
    return list(dict.fromkeys(name for requirement in requirements for name in playable_poisoning(requirement)))


# ── pages that stand in the root of the repository, with links as seen from docs/ ────────────────────────────────


def from_root(name: str) -> str:
    """A page of the repository's root as a page of the site."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return (
        text.replace("](docs/", "](").replace('src="docs/', 'src="').replace("](CONTRIBUTING.md)", "](contributing.md)")
    )


def pages() -> dict[str, str]:
    """Everything that is made here: path from the root, and text."""
    return {
        "docs/index.md": from_root("README.md"),
        "docs/contributing.md": from_root("CONTRIBUTING.md"),
        "docs/policy.md": policy_reference(),
        "docs/commands.md": commands_reference(),
        "docs/map.md": map_page(),
        "schema/policy.schema.json": schema_text(),
    }


def main() -> None:
    """Write everything."""
    for path, text in pages().items():
        target = ROOT / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
