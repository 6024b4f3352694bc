"""JUnit files, against the schemas that CI servers quote."""

from pathlib import Path

import pytest
from lxml import etree
from sample import TIMINGS, image_case

from redoubt.records import Evidence, Place
from redoubt.report.junit import render_junit
from redoubt.report.read import Timings

HERE = Path(__file__).parent
EVIDENCE, _ = image_case()
TIMES = Timings.model_validate(TIMINGS)
PLACES = {"small-noise": Place("policies/digits.yaml", 14, 5)}
HOSTILE = "a]]><script>\x00\x1b[31m\u202e&\uffff\n\nb"


@pytest.fixture(params=["junit-ant.xsd", "junit-10.xsd"])
def schema(request: pytest.FixtureRequest) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(HERE / request.param)))


def hostile() -> Evidence:
    plain = EVIDENCE.model_dump(mode="json")
    plain |= {"system": HOSTILE, "model": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    for requirement in plain["requirements"]:
        requirement |= {"reason": HOSTILE, "within": HOSTILE, "adversary": HOSTILE, "id": requirement["id"] + HOSTILE}
        for sign in requirement["signs"]:
            sign["explanation"] = HOSTILE
    return Evidence.model_validate(plain)


@pytest.mark.parametrize("evidence", [EVIDENCE, hostile()], ids=["plain", "hostile"])
@pytest.mark.parametrize("timings", [TIMES, None], ids=["timed", "untimed"])
def test_valid(schema: etree.XMLSchema, evidence: Evidence, timings: Timings | None) -> None:
    schema.assertValid(etree.fromstring(render_junit(evidence, timings, PLACES)))


def test_schemas_refuse_a_suite_without_counts(schema: etree.XMLSchema) -> None:
    tree = etree.fromstring(render_junit(EVIDENCE, TIMES, PLACES))
    del tree[0].attrib["failures"]
    assert not schema.validate(tree)


def test_verdicts_become_outcomes() -> None:
    suite = etree.fromstring(render_junit(EVIDENCE, TIMES, PLACES))[0]
    assert [suite.get(k) for k in ("name", "tests", "failures", "errors")] == ["digit-reader", "4", "1", "1"]
    outcomes = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    assert outcomes == {"small-noise": ["failure"], "turn-and-shift": [], "stranger": ["error"], "right-at-all": []}


def test_failure_says_where_what_and_how_much() -> None:
    failure = etree.fromstring(render_junit(EVIDENCE, TIMES, PLACES)).find(".//failure")
    assert failure.text.startswith("policies/digits.yaml:14:5: small-noise: violated\n")
    assert failure.get("message").startswith("robust_accuracy >= 0.85, found 48 of 200")
    error = etree.fromstring(render_junit(EVIDENCE, TIMES, PLACES)).find(".//error")
    assert "radius-does-not-hurt: At 64 times the radius" in error.text


def test_times_are_utc_and_add_up() -> None:
    suite = etree.fromstring(render_junit(EVIDENCE, TIMES, PLACES))[0]
    assert suite.get("timestamp") == "2026-03-01T07:30:00"
    assert [case.get("time") for case in suite.iter("testcase")] == ["84.460", "8.500", "0.000", "0.000"]
    assert suite.get("time") == "92.960"


def test_without_timings_no_clock_is_read() -> None:
    assert etree.fromstring(render_junit(EVIDENCE, None, {}))[0].get("timestamp") == "1970-01-01T00:00:00"
