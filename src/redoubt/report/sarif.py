"""SARIF 2.1.0, as GitHub code scanning and other result viewers read it: a requirement is a result in the policy."""

import json
from pathlib import PurePath
from typing import TypeAlias
from urllib.parse import quote

from redoubt.records import MEASURES, Evidence, Measured, Place, RequirementEvidence, Verdict, digest
from redoubt.records.canonical import Json
from redoubt.report.games import demand, where, work_sentence
from redoubt.report.read import POLICY, Timings
from redoubt.report.words import judged, measured_words, one_line, plain

Object: TypeAlias = dict[str, Json]

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
# SARIF 2.1.0 section 3.27.9: a result that is no failure has level `none`.
_KIND_LEVEL = {
    Verdict.VIOLATED: ("fail", "error"),
    Verdict.UNDECIDED: ("fail", "warning"),
    Verdict.WITHSTOOD: ("pass", "none"),
    Verdict.PROVED: ("pass", "none"),
}
_HELP = "Look at report.html beside this file; harden the model with `redoubt harden`, or state what it can withstand."


def render_sarif(evidence: Evidence, timings: Timings | None, places: dict[str, Place], command: str) -> bytes:
    """The verdicts as a SARIF log.

    `violated` is a result of level error, `undecided` of level warning, `withstood` and `proved` of kind pass; signs
    are notifications of the run.

    Args:
        evidence: what was found.
        timings: gives the start of the run.
        places: requirement id to its place in the policy file; the policy as a whole where there is none.
        command: the command line of the run.
    """
    rules = sorted({_rule_id(requirement) for requirement in evidence.requirements})
    verdicts = {requirement.verdict for requirement in evidence.requirements}
    invocation: Object = {
        "commandLine": plain(command),
        "executionSuccessful": True,
        "exitCode": 1 if Verdict.VIOLATED in verdicts else 2 if Verdict.UNDECIDED in verdicts else 0,
        "toolExecutionNotifications": [_notification(r, i) for r in evidence.requirements for i in range(len(r.signs))],
    }
    if timings:
        invocation["startTimeUtc"] = timings.started.strftime("%Y-%m-%dT%H:%M:%SZ")
    run: Object = {
        "tool": {
            "driver": {
                "name": "Redoubt",
                "version": one_line(evidence.redoubt),
                "rules": [_rule(rule) for rule in rules],
            }
        },
        "automationDetails": {"id": f"redoubt/{one_line(evidence.system)}/"},
        "columnKind": "unicodeCodePoints",
        "invocations": [invocation],
        "results": [
            _result(evidence, requirement, rules, places.get(requirement.id)) for requirement in evidence.requirements
        ],
        "properties": {
            "seed": evidence.seed,
            "digests": {name: one_line(str(value)) for name, value in evidence.digests},
            "versions": {one_line(name): one_line(value) for name, value in evidence.versions.items()},
        },
    }
    log: Object = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _rule_id(requirement: RequirementEvidence) -> str:
    return f"{one_line(requirement.game)}/{requirement.bound.measure}"


def _rule(rule: str) -> Object:
    game, measure = rule.rsplit("/", 1)
    words = f"{game} {measure}".replace("_", " ").replace(".", " ")
    return {
        "id": rule,
        "name": "".join(word.capitalize() for word in words.split()),
        "shortDescription": {"text": words.capitalize()},
        "fullDescription": {"text": MEASURES[measure].says},
        "help": {"text": _HELP, "markdown": _HELP},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["security", "machine-learning"]},
    }


def _result(evidence: Evidence, requirement: RequirementEvidence, rules: list[str], place: Place | None) -> Json:
    kind, level = _KIND_LEVEL[requirement.verdict]
    measured, rule = judged(requirement), _rule_id(requirement)
    found = measured_words(measured) if measured else "not measured"
    text = f"{one_line(requirement.id)} is {requirement.verdict.value}: {requirement.bound.measure} {found}."
    properties: Object = {
        "verdict": requirement.verdict.value,
        "bound": str(requirement.bound),
        "adversary": one_line(requirement.adversary),
        "within": where(requirement),
        "passes": requirement.work.passes,
    }
    if measured:
        properties["interval"] = list(measured.ends)
    if isinstance(measured, Measured):
        properties |= {"successes": measured.successes, "trials": measured.trials}
    return {
        "ruleId": rule,
        "ruleIndex": rules.index(rule),
        "kind": kind,
        "level": level,
        "message": _message(
            f"{text} {demand(requirement)} {one_line(requirement.reason)} {work_sentence(requirement)}"
        ),
        "locations": [_location(place, requirement)],
        # Stays the same while a requirement keeps its name and its kind, so that viewers follow it over runs.
        "partialFingerprints": {"redoubtRequirement/v1": digest([evidence.system, requirement.id, rule])},
        "properties": properties,
    }


def _message(text: str) -> Json:
    """A message without placeholders or links (SARIF 2.1.0 sections 3.11.5 and 3.11.6), whatever names stand in it."""
    return {"text": text.replace("{", "{{").replace("}", "}}").replace("](", "] (")}


def _location(place: Place | None, requirement: RequirementEvidence) -> Json:
    physical: Object = {"artifactLocation": {"uri": _uri(place.file if place else POLICY)}}
    if place and place.line:
        region: Object = {"startLine": place.line}
        if place.column:
            region["startColumn"] = place.column
        physical["region"] = region
    logical: Object = {"name": one_line(requirement.id), "kind": "object"}
    return {"physicalLocation": physical, "logicalLocations": [logical]}


def _uri(file: str) -> str:
    """A relative path as a relative reference, an absolute one as a file URI."""
    path = PurePath(file)
    # A first segment with a colon would read as a scheme; quote() leaves none.
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())


def _notification(requirement: RequirementEvidence, index: int) -> Json:
    sign = requirement.signs[index]
    return {
        "level": "warning",
        "descriptor": {"id": sign.name.value},
        "message": _message(f"{one_line(requirement.id)}: {sign.name.value}: {one_line(sign.explanation)}"),
    }
