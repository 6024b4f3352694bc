"""Pages are fresh, complete, and lead somewhere."""

import importlib.util
import itertools
import os
import re
from pathlib import Path
from typing import get_args

import pytest
import typer
from ruamel.yaml import YAML

import redoubt.cli  # noqa: F401  its modules register the commands
from redoubt.assess import STANDARD
from redoubt.assess.membership.plan import MEMBERSHIP_SUITE
from redoubt.assess.poisoning.plan import POISONING_SUITE
from redoubt.attacks.backdoor.invert import TRIGGER_SUITE
from redoubt.attacks.memorisation import Extraction
from redoubt.cli.app import app
from redoubt.policy import parse_policy, policy_schema
from redoubt.policy.crosscheck_backdoor import check_backdoor
from redoubt.policy.membership_strategies import playable_membership
from redoubt.policy.poisoning_strategies import playable_poisoning
from redoubt.policy.strategies import playable
from redoubt.records import GAMES, SIGNALS, Policy
from redoubt.records.backdoor import TriggerStrategy

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SHARED = Path(os.environ.get("REDOUBT_DATA", ROOT / "../shared/data"))
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app).commands


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("docs_generate_pages", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def yaml(path):
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


ROWS, IDS = yaml(DOCS / "map.yaml"), yaml(DOCS / "ids.yaml")


def test_generated_pages_are_those_of_the_code(generate):
    pages = generate.pages()
    assert {"docs/policy.md", "docs/commands.md", "docs/map.md", "docs/index.md"} <= set(pages)
    stale = [path for path, text in pages.items() if (ROOT / path).read_text(encoding="utf-8") != text]
    assert stale == [], "run: python docs/generate.py"


def test_every_key_of_the_policy_stands_in_its_reference():
    reference = (DOCS / "policy.md").read_text(encoding="utf-8")
    schema = policy_schema()
    records = [schema, *(record for record in schema["$defs"].values() if "properties" in record)]
    keys = {key for record in records for key in record["properties"]}
    assert len(keys) > 30
    assert {key for key in keys if f"| `{key}` |" not in reference} == set()


def test_every_command_and_option_stands_in_the_reference_and_every_command_in_the_readme():
    reference = (DOCS / "commands.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## redoubt (\w+)$", reference, re.MULTILINE)) == set(COMMANDS)
    assert set(re.findall(r"^\| `redoubt (\w+)", README, re.MULTILINE)) == set(COMMANDS)
    groups = {name: command.commands for name, command in COMMANDS.items() if hasattr(command, "commands")}
    assert {"guard", "keys", "audit"} <= set(groups)
    inner = {f"{name} {each}": found for name, commands in groups.items() for each, found in commands.items()}
    for name, command in ({name: c for name, c in COMMANDS.items() if name not in groups} | inner).items():
        section = reference.split(f"# redoubt {name}\n")[1].split("\n## ")[0].split("\n### ")[0]
        for parameter in command.params:
            shown = parameter.opts[0] if parameter.param_type_name == "option" else parameter.name.upper()
            assert f"| `{shown}`" in section, (name, parameter.name)


# ── the README ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_readme_opens_with_the_two_commands_and_a_small_picture():
    first = README.split("```")[1]
    assert [line.split("#")[0].strip() for line in first.splitlines()[1:]] == ["make demo", "make test"]
    picture = ROOT / re.search(r'<img src="([^"]+)" width="\d+" alt="[^"]+">', README)[1]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 400_000


def test_the_policy_in_the_readme_is_the_demo_s_shortened():
    text = README.split("```yaml\n")[1].split("```")[0]
    shown = parse_policy(text.encode(), Path("README.md")).policy
    demo = ROOT / "src/redoubt/cli/demo_files/digits.yaml"
    whole = parse_policy(demo.read_bytes(), demo).policy
    assert (shown.model, shown.data, shown.harden) == (whole.model, whole.data, whole.harden)
    assert set(shown.requirements) < set(whole.requirements)
    assert shown.adversaries.items() <= whole.adversaries.items()


def test_the_readme_names_every_extra():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r"^\| `(\w+)` \|", README.split("## Install")[1].split("## ")[0], re.MULTILINE)) == set(
        extras
    )


# ── links ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _anchors(page):
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.is_file(), f"{page.name} links to {target}"
        assert not anchor or anchor in _anchors(found), f"{page.name} links to {target}"


def test_every_page_of_the_site_can_be_reached():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:")[1]
    assert set(re.findall(r"([\w./-]+\.md)", nav)) == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}


def test_every_room_has_a_page_of_its_api():
    rooms = {folder.name for folder in (ROOT / "src/redoubt").iterdir() if (folder / "__init__.py").is_file()}
    assert {page.stem for page in (DOCS / "api").glob("*.md")} - {"index"} == rooms - {"cli"}


def test_decisions_are_numbered_and_listed():
    pages = sorted(page.name for page in (DOCS / "decisions").glob("0*.md"))
    assert [int(name[:4]) for name in pages] == list(range(1, len(pages) + 1))
    assert re.findall(r"\]\((0[^)]+)\)", (DOCS / "decisions/index.md").read_text(encoding="utf-8")) == pages
    for name in pages:
        text = (DOCS / "decisions" / name).read_text(encoding="utf-8")
        assert text.startswith(f"# {name[:4]} ")
        assert [f"**{part}.**" in text for part in ("Context", "Decision", "Consequences")] == [True] * 3


# ── the map ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_map_names_exactly_the_standard_strategies(generate):
    games = (*STANDARD, *MEMBERSHIP_SUITE, *TRIGGER_SUITE, *POISONING_SUITE)
    standard = {attack.name for attack in games} | {"exposure", Extraction.name, "accountants"}
    assert {name for row in ROWS for name in generate.strategies_of(row)} == standard
    cells = [
        line.split(" | ")[2] for line in (DOCS / "map.md").read_text(encoding="utf-8").splitlines() if " | " in line
    ]
    assert {name for cell in cells for name in re.findall(r"`([\w-]+)`", cell)} == standard


MOVING = [row for row in ROWS if row.get("game") == "evasion"]
ASKING = [row for row in ROWS if row.get("game") == "membership"]
HIDING = [row for row in ROWS if row.get("game") == "backdoor"]
POISONED = [row for row in ROWS if row.get("game") == "poisoning"]
KEEPING = [row for row in ROWS if row.get("game") in ("memorisation", "privacy")]
GATES = [row for row in ROWS if "game" not in row]


def test_every_row_is_of_a_game_that_is_tested_here():
    assert len(MOVING) + len(ASKING) + len(HIDING) + len(POISONED) + len(KEEPING) + len(GATES) == len(ROWS)
    assert {row["game"] for row in ROWS if "game" in row} == set(GAMES)


def test_a_row_without_a_game_names_commands_that_there_are_and_what_they_bound():
    import typer

    from redoubt.cli.app import app
    from redoubt.records import UPDATE_MEASURES

    named = {name for row in GATES for name in row["commands"]}
    assert named == {"scan", "sign", "verify", "attest", "update"}
    assert named <= set(typer.main.get_command(app).commands)
    assert [row["measures"] for row in GATES if "update" in row["commands"]] == [list(UPDATE_MEASURES)]
    assert {name for row in GATES if "update" not in row["commands"] for name in row["measures"]} == set()


@pytest.mark.parametrize("row", ASKING, ids=[row["threat"] for row in ASKING])
def test_a_row_of_membership_is_what_a_policy_can_say(row, generate):
    sound = yaml(ROOT / "src/redoubt/cli/demo_files/digits.yaml")
    played = set()
    for shape in row["inputs"]:
        requirements = [
            {"id": f"r{at}", "game": "membership", "adversary": "a", "require": f"{measure} <= 0.5"}
            for at, measure in enumerate(row["measures"])
        ]
        model = sound["model"] | {"input": {"shape": shape, "range": [0, 1]}}
        said = sound | {"adversaries": {"a": row["adversary"]}, "requirements": requirements, "harden": None}
        policy = Policy.model_validate(said | {"model": model, "guard": None})
        played |= {name for r in policy.requirements for name in playable_membership(r, policy)}
    assert played == set(generate.strategies_of(row))
    assert set(row["guard"]) <= set(SIGNALS)


@pytest.mark.parametrize("row", HIDING, ids=[row["threat"] for row in HIDING])
def test_a_row_of_backdoors_is_what_a_policy_can_say(row, generate):
    sound = yaml(ROOT / "src/redoubt/cli/demo_files/digits.yaml")
    requirements = [
        {"id": f"r{at}", "game": "backdoor", "adversary": "a", "within": within, "require": f"{measure} <= 0.5"}
        for at, (within, measure) in enumerate(itertools.product(row["within"], row["measures"]))
    ]
    said = sound | {"adversaries": {"a": row["adversary"]}, "requirements": requirements, "harden": None}
    policy = Policy.model_validate(said | {"guard": None})
    assert not [what for r in policy.requirements for what in check_backdoor(r, policy.adversaries["a"], policy)]
    assert set(get_args(TriggerStrategy)) == set(generate.strategies_of(row))
    assert set(row["guard"]) <= set(SIGNALS)


@pytest.mark.parametrize("row", POISONED, ids=[row["threat"] for row in POISONED])
def test_a_row_of_poisoning_is_what_a_policy_can_say(row, generate):
    sound = yaml(ROOT / "src/redoubt/cli/demo_files/digits.yaml")
    requirements = [
        {"id": f"r{at}", "game": "poisoning", "adversary": "a", "require": f"{one} <= 0.5", "labels": row["labels"]}
        for at, one in enumerate(row["measures"])
    ]
    said = {"adversaries": {"a": row["adversary"]}, "requirements": requirements, "harden": None, "guard": None}
    policy = Policy.model_validate(sound | said)
    played = {name for r in policy.requirements for name in playable_poisoning(r)}
    assert played == set(generate.strategies_of(row))
    assert set(row["guard"]) <= set(SIGNALS)


@pytest.mark.parametrize("row", KEEPING, ids=[row["threat"] for row in KEEPING])
def test_a_row_of_kept_records_names_what_its_game_measures(row):
    assert set(row["measures"]) == set(GAMES[row["game"]].measures)
    assert set(row["guard"]) <= set(SIGNALS)


@pytest.mark.parametrize("row", MOVING, ids=[row["threat"] for row in MOVING])
def test_a_row_of_the_map_is_what_a_policy_can_say(row, generate):
    sound = yaml(ROOT / "src/redoubt/cli/demo_files/digits.yaml")
    who = {"knows": "nothing", "observes": "scores"} | row["adversary"]
    requirements = [
        {"id": f"r{at}", "game": row["game"], "adversary": "a", "within": within, "require": f"{measure} {bound}"}
        | {key: row[key] for key in ("strategies",) if key in row}
        for at, (within, measure, bound) in enumerate(
            (within, measure, "<= 0.5" if measure == "attack_success" else ">= 0.5")
            for within in row["within"]
            for measure in row["measures"]
        )
    ]
    sound |= {"adversaries": {"a": who}, "requirements": requirements, "harden": None}
    policy = Policy.model_validate(sound)
    assert {name for r in policy.requirements for name in playable(r, policy)} == set(generate.strategies_of(row))
    assert row["hardening"] == "adversarial training"
    assert row["guard"]
    assert set(row["guard"]) <= set(SIGNALS)


def test_every_signal_of_the_guard_stands_in_the_map_and_in_its_page():
    assert {name for row in ROWS for name in row["guard"]} == set(SIGNALS)
    page = (DOCS / "guard.md").read_text(encoding="utf-8")
    assert {name for name in SIGNALS if f"`{name}`" not in page} == set()


def test_the_map_s_tests_exist():
    named = {path for row in ROWS for path in row["tests"]}
    assert len(named) >= 5
    assert {path for path in named if not (ROOT / path).is_file()} == set()


def test_the_map_s_ids_have_names_and_every_row_has_one_of_each_catalogue():
    named = {catalogue: set(IDS[catalogue]["ids"]) for catalogue in IDS}
    assert {key for row in ROWS for key in row["ids"]} == set().union(*named.values())
    for row in ROWS:
        assert all(set(row["ids"]) & ids for ids in named.values()), row["threat"]
    page = (DOCS / "map.md").read_text(encoding="utf-8")
    for catalogue in IDS.values():
        assert catalogue["release"] in page
        assert all(f"{key} {name}" in page for key, name in catalogue["ids"].items())


@pytest.mark.skipif(not (SHARED / "atlas").is_dir(), reason="ATLAS not found: set REDOUBT_DATA to its parent folder")
def test_ids_of_atlas_are_those_of_its_release():
    raw = (SHARED / "atlas/ATLAS.yaml").read_text(encoding="utf-8")
    assert f"version: {IDS['atlas']['release'].removeprefix('MITRE ATLAS ')}\n" in raw.split("matrices:")[0]
    techniques = dict(re.findall(r"^  - id: (AML\.T[\d.]+)\n    name: (.+)$", raw, re.MULTILINE))
    assert len(techniques) > 100
    assert IDS["atlas"]["ids"].items() <= techniques.items()
