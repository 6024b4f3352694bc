"""Findings as SARIF 2.1.0, as code-scanning viewers read them."""

import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from redoubt import __version__
from redoubt.records.canonical import Json, digest
from redoubt.supply.findings import UNDECIDED, Finding, Judgement, Kind

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
_MEANING = {
    Kind.RUNS_CODE: "Reading the file would run code.",
    Kind.UNKNOWN_NAME: "The file names a class or function that is not on the allow-list.",
    Kind.CUSTOM_OPERATOR: "The file needs a library of somebody else's to be run.",
    Kind.LEADS_OUTSIDE: "The file makes its reader open other files.",
    Kind.DECEIVES: "The file is another thing to another reader.",
    Kind.BOMB: "Reading the file takes more memory or time than it says.",
    Kind.DAMAGED: "The file is not what its format says.",
    Kind.UNKNOWN_FORMAT: "The file's format is not known.",
    Kind.NEEDS: "A library is missing to look into the file.",
}


def render(path: Path, judged: Sequence[Judgement]) -> bytes:
    """A SARIF log with a result for each finding."""
    results: list[Json] = [_result(path, one, finding) for one in judged for finding in one.findings]
    driver: Json = {
        "name": "Redoubt",
        "version": __version__,
        "rules": [{"id": kind.value, "shortDescription": {"text": text}} for kind, text in _MEANING.items()],
    }
    run: Json = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    log: Json = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False).encode() + b"\n"


def _result(path: Path, one: Judgement, finding: Finding) -> Json:
    place = f"{finding.place}: " if finding.place else ""
    text = f"{one.file}: {place}{finding.what}. {finding.remedy}"
    where = path / one.file if path.is_dir() else path
    return {
        "ruleId": finding.kind.value,
        "ruleIndex": list(_MEANING).index(finding.kind),
        "level": "warning" if finding.kind in UNDECIDED else "error",
        "message": {"text": text.replace("{", "{{").replace("}", "}}").replace("](", "] (")},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": where.as_uri() if where.is_absolute() else quote(where.as_posix())}
                },
                "logicalLocations": [{"name": finding.place or one.file, "kind": "member"}],
            }
        ],
        "partialFingerprints": {
            "redoubtFinding/v1": digest([one.file, finding.kind.value, finding.place, finding.what])
        },
    }
