"""Where in the policy the parts of a source are named, so that errors can point there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from redoubt.records import Place, RedoubtError

Locate: TypeAlias = Callable[..., Place | None]
"""`locate("input", "shape")`: the place of a key in the policy, relative to the section at hand; None if unknown."""


def nowhere(*_key: str) -> Place | None:
    """The `Locate` of a source that stands in no file."""
    return None


@contextmanager
def placed(locate: Locate, *key: str) -> Iterator[None]:
    """Give every error of ours that leaves the block without a place the place of `key`.

    >>> from redoubt.records import ModelError
    >>> with placed(lambda key: Place("policy.yaml", 4), "weights"):
    ...     raise ModelError("no such file")
    Traceback (most recent call last):
    redoubt.records.errors.ModelError: policy.yaml:4: no such file
    """
    try:
        yield
    except RedoubtError as error:
        where = locate(*key) if error.where is None else None
        if where is None:
            raise
        raise type(error)(error.what, where, remedy=error.remedy) from error


def first_line(error: BaseException, limit: int = 300) -> str:
    """A foreign error in one line: its kind and the beginning of what it says."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:limit]}" if said else type(error).__name__
