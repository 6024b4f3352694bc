"""SARIF files, against the schema of the standard and its rules on kind and level."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sample import COMMAND, TIMINGS, image_case

from redoubt.records import Evidence, Place, Verdict
from redoubt.report.read import Timings
from redoubt.report.sarif import render_sarif

EVIDENCE, _ = image_case()
TIMES = Timings.model_validate(TIMINGS)
PLACES = {"small-noise": Place("policies/digits.yaml", 14, 5), "stranger": Place("policies/digits.yaml")}
HOSTILE = "a]]><script>\x00\x1b[31m\u202e&\n{0} [x](http://evil)"


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft7Validator:
    text = (Path(__file__).parent / "sarif-schema-2.1.0.json").read_text()
    return jsonschema.Draft7Validator(json.loads(text), format_checker=jsonschema.FormatChecker())


def log(found: Evidence = EVIDENCE, places: dict[str, Place] = PLACES, timings: Timings | None = TIMES) -> Any:
    return json.loads(render_sarif(found, timings, places, COMMAND))


def results(found: Evidence = EVIDENCE, places: dict[str, Place] = PLACES) -> dict[str, Any]:
    return {r["locations"][0]["logicalLocations"][0]["name"]: r for r in log(found, places)["runs"][0]["results"]}


def changed(**values: Any) -> Evidence:
    return EVIDENCE.model_copy(update=values)


@pytest.mark.parametrize("timings", [TIMES, None], ids=["timed", "untimed"])
@pytest.mark.parametrize(
    "found",
    [
        EVIDENCE,
        changed(system=HOSTILE, versions={HOSTILE: HOSTILE}),
        changed(requirements=(EVIDENCE.requirements[0].model_copy(update={"id": HOSTILE, "measures": ()}),)),
        changed(requirements=()),
    ],
    ids=["plain", "hostile names", "hostile and unmeasured", "empty"],
)
def test_valid(schema: jsonschema.Draft7Validator, found: Evidence, timings: Timings | None) -> None:
    schema.validate(log(found, timings=timings))


def test_schema_refuses_an_unknown_level(schema: jsonschema.Draft7Validator) -> None:
    broken = log()
    broken["runs"][0]["results"][0]["level"] = "catastrophe"
    assert not schema.is_valid(broken)


def test_verdicts_become_levels() -> None:
    found = {name: (result["kind"], result["level"]) for name, result in results().items()}
    assert found == {
        "small-noise": ("fail", "error"),
        "turn-and-shift": ("pass", "none"),
        "stranger": ("fail", "warning"),
        "right-at-all": ("pass", "none"),
    }


def test_every_result_names_its_rule() -> None:
    run = log()["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [
        "evasion/attack_success",
        "evasion/clean_accuracy",
        "evasion/robust_accuracy",
    ]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])


def test_places_become_regions() -> None:
    found = {name: result["locations"][0]["physicalLocation"] for name, result in results().items()}
    assert found["small-noise"] == {
        "artifactLocation": {"uri": "policies/digits.yaml"},
        "region": {"startLine": 14, "startColumn": 5},
    }
    assert found["stranger"] == {"artifactLocation": {"uri": "policies/digits.yaml"}}
    assert found["right-at-all"] == {"artifactLocation": {"uri": "policy.yaml"}}


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("a b/ü.yaml", "a%20b/%C3%BC.yaml"),
        ("c:d.yaml", "c%3Ad.yaml"),
        ("/srv/x#y.yaml", "file:///srv/x%23y.yaml"),
        ("../p.yaml", "../p.yaml"),
    ],
)
def test_paths_become_uris(file: str, uri: str) -> None:
    found = results(places={"small-noise": Place(file, 1)})["small-noise"]
    assert found["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_fingerprints_follow_a_requirement_over_runs() -> None:
    first, before = EVIDENCE.requirements[0], results()
    later = first.model_copy(update={"verdict": Verdict.WITHSTOOD, "measures": (), "reason": "hardened"})
    after = results(changed(requirements=(later, *EVIDENCE.requirements[1:]), seed=99))
    assert [r["partialFingerprints"] for r in before.values()] == [r["partialFingerprints"] for r in after.values()]
    assert len({json.dumps(r["partialFingerprints"]) for r in before.values()}) == 4


def test_run_tells_how_it_ended() -> None:
    invocation = log()["runs"][0]["invocations"][0]
    assert invocation["commandLine"] == COMMAND
    assert invocation["exitCode"] == 1
    assert invocation["startTimeUtc"] == "2026-03-01T07:30:00Z"
    assert [n["descriptor"]["id"] for n in invocation["toolExecutionNotifications"]] == [
        "radius-does-not-hurt",
        "broken-strategy",
    ]
    undecided = changed(requirements=EVIDENCE.requirements[1:])
    assert log(undecided)["runs"][0]["invocations"][0]["exitCode"] == 2
