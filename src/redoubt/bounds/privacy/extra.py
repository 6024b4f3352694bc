"""Importing what only privacy needs: dp-accounting, opacus, kymatio."""

from collections.abc import Iterator
from contextlib import contextmanager

from redoubt.records import PolicyError


@contextmanager
def needs_privacy() -> Iterator[None]:
    """Around imports of the extra `privacy`.

    Raises:
        PolicyError: one of them is not installed; the remedy names the extra.
    """
    try:
        yield
    except ImportError as error:
        raise PolicyError(
            f"this needs '{(error.name or 'dp_accounting').partition('.')[0]}', which is not installed",
            remedy="pip install 'redoubt[privacy]'",
        ) from error
