"""The policy language as JSON Schema (2020-12), for editors."""

import json
from typing import Any

from redoubt.records import Policy

ID = "urn:redoubt:policy:1"


def policy_schema() -> dict[str, Any]:
    """The schema, as plain values.

    It says all that one key can: types, units, bounds, choices.  What takes several keys to see, `redoubt check` says.
    """
    schema: dict[str, Any] = Policy.model_json_schema()
    _for_editors(schema)
    definitions = schema.pop("$defs")
    turn = definitions["WithinTurn"]
    moves = ("rotation", "translation")
    turn["anyOf"] = [{"required": [key]} for key in moves]
    for key in moves:
        del turn["properties"][key]["default"]
    schema["properties"]["adversaries"]["additionalProperties"] = False
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        **schema,
        "title": "Redoubt policy",
        "$defs": definitions,
    }


def schema_text() -> str:
    """The schema as it is published: indented, one newline at the end."""
    return json.dumps(policy_schema(), indent=2, ensure_ascii=False) + "\n"


def _for_editors(node: object) -> None:
    """Say `anyOf` for `oneOf`: editors offer its members' keys, and the members exclude each other anyway."""
    if isinstance(node, dict):
        if "oneOf" in node:
            node["anyOf"] = node.pop("oneOf")
        node.pop("discriminator", None)
        for value in node.values():
            _for_editors(value)
    elif isinstance(node, list):
        for value in node:
            _for_editors(value)
