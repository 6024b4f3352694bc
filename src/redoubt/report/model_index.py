"""The `model-index` block of a Hugging Face model card, ready to be pasted into the card's metadata."""

import io
import re
from typing import TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from redoubt.records import Evidence, Figure, Measured, RequirementEvidence, Verdict
from redoubt.records.canonical import Json
from redoubt.report.games import telling, where
from redoubt.report.words import judged, measure_name, measure_of, one_line

Object: TypeAlias = dict[str, Json]

_HEADER = "# For the metadata of a Hugging Face model card.  Verdicts and what they rest on: report.html.\n"


def render_model_index(evidence: Evidence) -> bytes:
    """The measures as `model-index` YAML: one result, one metric per measure and requirement.

    `verified` is left out: it is the Hub's to set.  A requirement that was never measured has no metric.
    """
    image = len(evidence.input_shape) == 3 and evidence.input_shape[0] in (1, 3, 4)
    data = one_line(evidence.data)
    metrics: list[Json] = []
    clean = {m for r in evidence.requirements if isinstance(m := measure_of(r, "clean_accuracy"), Measured)}
    metrics += [
        {"type": "accuracy", "name": "Clean accuracy", "value": round(m.value, 6), "args": _figures(m)}
        for m in sorted(clean, key=lambda m: (m.trials, m.successes))
    ]
    metrics += [metric for r in evidence.requirements if (metric := _metric(r)) is not None]
    index: Object = {
        "model-index": [
            {
                "name": one_line(evidence.system),
                "results": [
                    {
                        "task": {
                            "type": "image-classification" if image else "tabular-classification",
                            "name": "Robustness of classification",
                        },
                        "dataset": {
                            "type": re.sub(r"[^a-z0-9]+", "-", data.lower()).strip("-") or "data",
                            "name": data or "data",
                            "args": {"digest": one_line(evidence.digests.data)},
                        },
                        "metrics": metrics,
                    }
                ],
            }
        ]
    }
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 1 << 16
    text = io.StringIO()
    yaml.dump(_quoted(index), text)
    return (_HEADER + text.getvalue()).encode()


def _metric(requirement: RequirementEvidence) -> Json:
    measured, bound = judged(requirement), requirement.bound
    if measured is None or bound.measure == "clean_accuracy":
        return None
    name = f"{measure_name(bound.measure).capitalize()} against {one_line(requirement.adversary)}"
    doubt = " (undecided)" if requirement.verdict is Verdict.UNDECIDED else ""
    return {
        "type": bound.measure,
        "name": f"{name} {telling(requirement).joint} {where(requirement)}{doubt}",
        "value": round(measured.value, 6),
        "args": {
            "requirement": one_line(requirement.id),
            "bound": str(bound),
            "verdict": requirement.verdict.value,
            **_figures(measured),
        },
    }


def _figures(measured: Figure) -> Object:
    if not isinstance(measured, Measured):
        ends = [round(end, 6) for end in measured.ends]
        return {"interval": ends, "level": measured.level, "method": measured.method}
    interval = measured.interval
    return {
        "successes": measured.successes,
        "trials": measured.trials,
        "interval": [round(interval.low, 6), round(interval.high, 6)],
        "level": interval.level,
    }


def _quoted(value: Json) -> object:
    """The value with every text in quotes: the Hub reads YAML 1.1, where a bare `no` is false and `1:30` is 90."""
    if isinstance(value, dict):
        return {key: _quoted(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_quoted(part) for part in value]
    return DoubleQuotedScalarString(value) if isinstance(value, str) else value
