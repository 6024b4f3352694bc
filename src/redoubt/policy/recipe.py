"""A recipe in a file of its own: the keys of the policy's `harden` section, without `against`."""

import json
from pathlib import Path

from pydantic import ValidationError

from redoubt.policy.document import file_bytes, read_document
from redoubt.policy.messages import problems_of
from redoubt.policy.problems import raise_problems, shown
from redoubt.records import PolicyError, Recipe


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe file, as strictly as a policy.

    Raises:
        PolicyError: it cannot be read, or something in it is wrong; all that is wrong is reported together.
    """
    remedy = "name a YAML file with keys of the policy's harden section, or one of the recipes that come along"
    return parse_recipe(file_bytes(path, "recipe", remedy), str(path))


def parse_recipe(raw: bytes, name: str) -> Recipe:
    """Check a recipe's bytes as `read_recipe` does; `name` is how messages call the file.

    Raises:
        PolicyError: something in it is wrong.
    """
    document = read_document(raw, name)
    if not isinstance(document.value, dict):
        raise PolicyError(
            f"expected keys with values, got {shown(document.value)}",
            document.place(),
            remedy=f"a recipe has keys such as {', '.join(list(Recipe.model_fields)[:4])}",
        )
    if "against" in document.value:
        raise PolicyError(
            "a recipe does not say against what",
            document.place("against"),
            remedy="remove it here, and write harden: {against: …} in the policy",
        )
    try:
        return Recipe.model_validate_json(json.dumps(document.value), strict=True)
    except ValidationError as error:
        raise_problems(problems_of(error, document, Recipe))
        raise
