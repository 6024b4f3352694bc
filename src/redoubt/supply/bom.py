"""A bill of materials of a model: CycloneDX 1.6 with machine-learning components (an ML-BOM).

Source: cyclonedx.org/docs/1.6/json.  The same files give the same bytes: there is no time in it, and the serial number
follows from the contents.
"""

import json
import uuid
from collections.abc import Sequence
from typing import Any

from redoubt import __version__
from redoubt.records.canonical import digest
from redoubt.supply.findings import Judgement

_MODELS = frozenset({"safetensors", "onnx", "skops", "keras", "hdf5", "torch", "torch (before 1.6)", "TorchScript"})


def bill_of_materials(name: str, judged: Sequence[Judgement]) -> bytes:
    """The bill of a model's files, each with its digest, its format, and what was found.

    Args:
        name: of the model.
        judged: its files.
    """
    components = [_component(one) for one in judged if one.digest]
    bill: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "redoubt", "version": __version__}]},
            "component": {"type": "machine-learning-model", "bom-ref": "model", "name": name},
        },
        "components": components,
        "dependencies": [
            {"ref": "model", "dependsOn": [each["bom-ref"] for each in components]},
            *({"ref": each["bom-ref"]} for each in components),
        ],
    }
    bill["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest([name, components]))}"
    return json.dumps(bill, indent=1, ensure_ascii=False).encode() + b"\n"


def _component(one: Judgement) -> dict[str, Any]:
    model = one.format in _MODELS
    found = "; ".join(sorted({finding.kind.value for finding in one.findings}))
    component: dict[str, Any] = {
        "type": "machine-learning-model" if model else "file",
        "bom-ref": f"file:{one.file}",
        "name": one.file,
        "hashes": [{"alg": "SHA-256", "content": one.digest.removeprefix("sha256:")}],
        "properties": [
            {"name": "redoubt:format", "value": one.format},
            {"name": "redoubt:size", "value": str(one.size)},
            {"name": "redoubt:scan", "value": "allowed" if one.allowed else found},
        ],
    }
    if model:
        component["modelCard"] = {"properties": [{"name": "redoubt:format", "value": one.format}]}
    return component
