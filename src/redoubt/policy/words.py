"""Small words that explanations share."""

from collections.abc import Iterable


def listed(words: Iterable[str], last: str) -> str:
    """Several words as one phrase.

    >>> listed(["a", "b", "c"], "and")
    'a, b and c'
    """
    *before, end = [*words] or [""]
    return f"{', '.join(before)} {last} {end}" if before else end


def percent(share: float) -> str:
    """A share as per cent.

    >>> percent(0.85)
    '85 %'
    """
    return f"{100 * share:.4g} %"
