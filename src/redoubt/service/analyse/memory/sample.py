"""A few of many entries: enough to show, and bounded."""

from redoubt.service.analyse.base import SHOWN


class Sample:
    """The first and the latest of some indices, and how many there were.

    >>> sample = Sample()
    >>> for index in range(100):
    ...     sample.add(index)
    >>> sample.entries, sample.of
    ((0, 1, 2, 3, 4, 95, 96, 97, 98, 99), 100)
    """

    __slots__ = ("_kept", "of")

    def __init__(self) -> None:
        self._kept: list[int] = []
        self.of = 0

    def add(self, index: int) -> None:
        """One more."""
        self._keep([*self._kept, index])
        self.of += 1

    def merge(self, other: "Sample") -> None:
        """All of another's as well, which are others."""
        self._keep(sorted(self._kept + other._kept))
        self.of += other.of

    def _keep(self, indices: list[int]) -> None:
        half = SHOWN // 2
        self._kept = indices if len(indices) <= SHOWN else indices[:half] + indices[-half:]

    @property
    def entries(self) -> tuple[int, ...]:
        """At most `SHOWN` indices, ascending."""
        return tuple(self._kept)
