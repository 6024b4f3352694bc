"""The recipes that come along, by name; each is a YAML file beside this one, and a start for one's own."""

import re
from importlib import resources
from pathlib import Path

from redoubt.policy import parse_recipe, read_recipe
from redoubt.policy.problems import did_you_mean
from redoubt.records import PolicyError, Recipe

_NAME = re.compile(r"[a-z0-9-]{1,64}")


def recipe_names() -> list[str]:
    """The names, in order.

    >>> "trades" in recipe_names()
    True
    """
    folder = resources.files("redoubt.harden") / "recipes"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def named_recipe(name: str) -> Recipe:
    """A recipe that comes along, or one in a file: whatever ends in .yaml or .yml, or has a slash, is a file.

    Raises:
        PolicyError: there is none of that name, or the file is wrong.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return read_recipe(Path(name))
    if not _NAME.fullmatch(name) or name not in recipe_names():
        raise PolicyError(
            f"no recipe is called '{name[:60]}'{did_you_mean(name, recipe_names(), 'recipes')}",
            remedy="name one of them, or a YAML file: ./mine.yaml",
        )
    file = resources.files("redoubt.harden") / "recipes" / f"{name}.yaml"
    return parse_recipe(file.read_bytes(), f"{name}.yaml")
