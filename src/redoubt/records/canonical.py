"""One byte string per value: canonical JSON, and digests over it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from pydantic import BaseModel

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


def canonical_json(value: "Json | BaseModel") -> bytes:
    """UTF-8 JSON with sorted keys, no spaces and shortest round-trip floats; the same value, the same bytes.

    This is RFC 8785 for the values that Redoubt writes (integers below 2**53, finite floats), except that
    a whole float keeps its `.0`.

    Raises:
        ValueError: a float is NaN or infinite, which JSON cannot say.

    >>> canonical_json({"b": [1, 2.5], "a": None})
    b'{"a":null,"b":[1,2.5]}'
    """
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: "Json | BaseModel | bytes") -> str:
    """SHA-256 of the bytes, or of the canonical JSON, as `sha256:<64 hex digits>`.

    >>> digest(b"")[:20]
    'sha256:e3b0c44298fc1'
    """
    raw = value if isinstance(value, bytes) else canonical_json(value)
    return "sha256:" + hashlib.sha256(raw).hexdigest()
