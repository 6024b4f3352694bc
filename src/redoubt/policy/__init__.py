"""Text to Policy: YAML 1.2 with positions, messages that name file, line and remedy, plain words."""

from redoubt.policy.draft import draft, system_name
from redoubt.policy.explain import explain
from redoubt.policy.problems import PolicyProblems
from redoubt.policy.read import PolicyFile, parse_policy, read_policy
from redoubt.policy.recipe import parse_recipe, read_recipe
from redoubt.policy.schema import policy_schema, schema_text
from redoubt.policy.strategies import playable

__all__ = [
    "PolicyFile",
    "PolicyProblems",
    "draft",
    "explain",
    "parse_policy",
    "parse_recipe",
    "playable",
    "policy_schema",
    "read_policy",
    "read_recipe",
    "schema_text",
    "system_name",
]
