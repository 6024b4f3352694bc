"""A policy file, read: the policy, and where each of its words stands.

1. bytes to plain values with places         (document)
2. plain values to a Policy, or what is wrong (schema, messages)
3. what no single key can tell                (crosscheck)
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from redoubt.policy.crosscheck import cross_check
from redoubt.policy.document import Document, Key, file_bytes, read_document
from redoubt.policy.draft import quoted
from redoubt.policy.messages import problems_of
from redoubt.policy.problems import raise_problems, shown
from redoubt.policy.sources import check_weights
from redoubt.records import ModelSource, Place, Policy, PolicyError


@dataclass(frozen=True)
class PolicyFile:
    """A sound policy and the file it stands in.

    Attributes:
        policy: the policy.
        path: the file.
        text: its text, as read.
    """

    policy: Policy
    path: Path
    text: str = field(repr=False)
    document: Document = field(repr=False, compare=False)

    @property
    def base(self) -> Path:
        """The folder at which relative paths in the policy start."""
        return self.path.parent

    def place(self, *keys: Key) -> Place:
        """Where a key or list element stands: `place("requirements", 0, "within")`.

        A path that is not in the file gives the place of its nearest parent that is.
        """
        return self.document.place(*keys)

    def with_weights(self, weights: str) -> str:
        """The policy's text, comments and all, with other weights.

        Raises:
            PolicyError: they are no weights for this model, or `weights` stands in the file without a value, or as a
                block, and cannot be replaced there.
        """
        wrong = check_weights(weights, self.policy.model.source)
        if wrong:
            raise PolicyError(wrong[0], remedy=wrong[1])
        return self.with_model({("weights",): weights})

    def with_model(self, values: Mapping[tuple[Key, ...], str]) -> str:
        """The policy's text, comments and all, with other values under `model`.

        Args:
            values: by path below `model`: `("weights",)`, `("signature", "bundle")`.  Keys of `model` itself that are
                not there yet are added.

        Raises:
            PolicyError: a value cannot be replaced where it stands.
        """
        file = self
        for path, value in values.items():
            file = file._with_one(path, value)
        return file.text

    def _with_one(self, path: tuple[Key, ...], value: str) -> "PolicyFile":
        key: tuple[Key, ...] = ("model", *path)
        name = ".".join(str(part) for part in path)
        span = self.document.spans.get(key)
        if span is not None:
            start, end = span
            text = f"{self.text[:start]}{quoted(value)}{self.text[end:]}"
        else:
            text = self._before_first_key_of_model(f"{name}: {quoted(value)}")
        wanted = self.policy.model.model_dump()
        inner = wanted
        for part in path[:-1]:
            inner = inner[str(part)]
        inner[str(path[-1])] = value
        refused = PolicyError(
            f"{name} cannot be replaced here",
            self.place(*key),
            remedy=f"write {name}: and its value on a line of its own",
        )
        try:
            replaced = parse_policy(text.encode(), self.path)
        except PolicyError as error:
            raise refused from error
        model = ModelSource.model_validate(wanted)
        if replaced.policy != self.policy.model_copy(update={"model": model}):
            raise refused
        return replaced

    def _before_first_key_of_model(self, entry: str) -> str:
        first = min(mark for path, mark in self.document.marks.items() if len(path) == 2 and path[0] == "model")
        _, column, offset = first
        joint = ", " if ("model",) in self.document.flows else "\n" + " " * (column - 1)
        return f"{self.text[:offset]}{entry}{joint}{self.text[offset:]}"


def read_policy(path: Path) -> PolicyFile:
    """Read and check a policy file.

    Raises:
        PolicyError: it cannot be read, or something in it is wrong; all that is wrong is reported together.
    """
    return parse_policy(file_bytes(path, "policy", "write one with: redoubt init MODEL"), path)


def parse_policy(raw: bytes, path: Path) -> PolicyFile:
    """Check a policy's bytes as `read_policy` does; `path` is where they come from.

    Raises:
        PolicyError: something in it is wrong.
    """
    document = read_document(raw, str(path))
    if not isinstance(document.value, dict):
        raise PolicyError(
            f"expected keys with values, got {shown(document.value)}",
            document.place(),
            remedy=f"a policy has the keys {', '.join(Policy.model_fields)}",
        )
    if document.value.get("redoubt") is True:  # which Python takes for 1
        raise PolicyError("redoubt: expected 1, got true", document.place("redoubt"), remedy="write redoubt: 1")
    try:
        # By way of JSON, where strict validation takes a list for a tuple but neither '10' nor true for a number.
        policy = Policy.model_validate_json(json.dumps(document.value), strict=True)
    except ValidationError as error:
        raise_problems(problems_of(error, document))
        raise
    raise_problems(cross_check(policy, document.place))
    return PolicyFile(policy, path, raw.decode("utf-8-sig"), document)
