"""Which version of the policy an entry was decided by."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from redoubt.policy import parse_policy
from redoubt.records import Guard, PolicyError
from redoubt.service.stores.base import Version


def version_at(versions: Sequence[Version], digest: str | None, at: float) -> Version | None:
    """The version with that digest that was the last to be made by then; None if the store has none.

    Args:
        versions: all of them, oldest first.
        digest: of its text.
        at: seconds since 1970-01-01 UTC.  Where clocks disagree, a later one of that digest will do.
    """
    same = [version for version in versions if version.digest == digest]
    earlier = [version for version in same if version.at <= at]
    return earlier[-1] if earlier else same[0] if same else None


@lru_cache(16)
def guard_in(text: str) -> Guard | None:
    """The guard of a version's text; None if this release cannot read it any more."""
    try:
        return parse_policy(text.encode(), Path("policy.yaml")).policy.guard
    except PolicyError:
        return None
