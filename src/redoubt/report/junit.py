"""JUnit XML, as Jenkins, GitLab and most other CI servers read it: a requirement is a test case."""

from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from redoubt.records import Evidence, Place, RequirementEvidence, Verdict
from redoubt.report.games import demand, work_sentence
from redoubt.report.read import Timings
from redoubt.report.words import judged, measured_words, one_line, plain

_ELEMENT = {Verdict.VIOLATED: "failure", Verdict.UNDECIDED: "error"}


def render_junit(evidence: Evidence, timings: Timings | None, places: dict[str, Place]) -> bytes:
    """The verdicts as JUnit XML: `violated` is a failure, `undecided` an error, `withstood` and `proved` a passed test.

    Args:
        evidence: what was found.
        timings: gives the times; without them every time is 0 and the date 1970-01-01.
        places: requirement id to its place in the policy file, for the text of failures and errors.
    """
    verdicts = [requirement.verdict for requirement in evidence.requirements]
    started = timings.started if timings else datetime.fromtimestamp(0, UTC)
    root = ET.Element("testsuites")
    suite = ET.SubElement(
        root,
        "testsuite",
        {
            "name": one_line(evidence.system),
            "package": "redoubt",
            "id": "0",
            "timestamp": started.strftime("%Y-%m-%dT%H:%M:%S"),
            "hostname": "localhost",
            "tests": str(len(verdicts)),
            "failures": str(verdicts.count(Verdict.VIOLATED)),
            "errors": str(verdicts.count(Verdict.UNDECIDED)),
            "time": _time(sum(timings.of(r.id) for r in evidence.requirements) if timings else 0.0),
        },
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(evidence, timings).items():
        ET.SubElement(properties, "property", {"name": name, "value": value})
    for requirement in evidence.requirements:
        _case(suite, evidence, requirement, timings, places.get(requirement.id))
    ET.SubElement(suite, "system-out").text = "\n".join(
        f"{one_line(r.id)}: {r.verdict.value}. {one_line(r.reason)} {work_sentence(r)}" for r in evidence.requirements
    )
    ET.SubElement(suite, "system-err").text = "\n".join(
        f"{one_line(r.id)}: {s.name.value}: {one_line(s.explanation)}" for r in evidence.requirements for s in r.signs
    )
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return text + b"\n"


def _case(
    suite: ET.Element,
    evidence: Evidence,
    requirement: RequirementEvidence,
    timings: Timings | None,
    place: Place | None,
) -> None:
    name = one_line(requirement.id)
    case = ET.SubElement(
        suite,
        "testcase",
        {
            "name": name,
            "classname": f"{one_line(evidence.system)}.{one_line(requirement.game)}",
            "time": _time(timings.of(requirement.id) if timings else 0.0),
        },
    )
    kind = _ELEMENT.get(requirement.verdict)
    if kind is None:
        return
    measured = judged(requirement)
    found = measured_words(measured) if measured else "not measured"
    message = f"{requirement.bound}, found {found}"
    where = f"{plain(str(place))}: " if place else ""
    lines = [f"{where}{name}: {requirement.verdict.value}", demand(requirement), plain(requirement.reason)]
    lines += [f"{sign.name.value}: {plain(sign.explanation)}" for sign in requirement.signs]
    lines.append(work_sentence(requirement))
    element = ET.SubElement(case, kind, {"message": message, "type": f"redoubt.{requirement.verdict.value}"})
    element.text = "\n".join(lines)


def _properties(evidence: Evidence, timings: Timings | None) -> dict[str, str]:
    values = {
        "redoubt": evidence.redoubt,
        "seed": str(evidence.seed),
        "model": evidence.model,
        "data": evidence.data,
        **{f"digest.{name}": str(value) for name, value in evidence.digests},
        **{f"version.{name}": value for name, value in sorted(evidence.versions.items())},
    }
    if timings:
        values["machine"] = timings.machine
    return {one_line(name): one_line(value) for name, value in values.items()}


def _time(seconds: float) -> str:
    return f"{seconds:.3f}"
