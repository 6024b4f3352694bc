"""Text to Policy: YAML 1.2 with positions, messages that name file, line and remedy, plain words."""

from redoubt.policy.draft import draft, system_name
from redoubt.policy.explain import explain
from redoubt.policy.problems import PolicyProblems
from redoubt.policy.read import PolicyFile, parse_policy, read_policy
from redoubt.policy.schema import policy_schema, schema_text
from redoubt.policy.strategies import playable

__all__ = [
    "PolicyFile",
    "PolicyProblems",
    "draft",
    "explain",
    "parse_policy",
    "playable",
    "policy_schema",
    "read_policy",
    "schema_text",
    "system_name",
]
