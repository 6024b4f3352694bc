"""Importing what only some models need."""

from collections.abc import Iterator
from contextlib import contextmanager

from redoubt.records import ModelError


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Around imports of the optional dependencies of an extra.

    Raises:
        ModelError: one is not installed; the remedy names the extra.
    """
    try:
        yield
    except ImportError as error:
        raise ModelError(
            f"this model needs '{(error.name or extra).partition('.')[0]}', which is not installed",
            remedy=f"pip install 'redoubt[{extra}]'",
        ) from error
