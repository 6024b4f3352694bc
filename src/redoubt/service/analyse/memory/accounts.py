"""What is remembered of each account, in bounded memory."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

State = TypeVar("State")


class Accounts(Generic[State]):
    """A state for each of the accounts that asked last.

    One that makes room for another is not lost: `close` judges it by what it did until then, so that nobody is washed
    out by a flood of others.  If it comes back, it begins anew.

    Args:
        most: states that are held.
        new: makes the state of a newcomer, from the name.
        close: is told of each state once, when it is given up.
    """

    def __init__(self, most: int, new: Callable[[str], State], close: Callable[[State], None]) -> None:
        self._most, self._new, self._close = most, new, close
        self._states: OrderedDict[str, State] = OrderedDict()

    def of(self, name: str) -> State:
        """The state of that account."""
        state = self._states.get(name)
        if state is None:
            if len(self._states) >= self._most:
                self._close(self._states.popitem(last=False)[1])
            state = self._states[name] = self._new(name)
        else:
            self._states.move_to_end(name)
        return state

    def close_all(self) -> None:
        """Give all up, the one that asked longest ago first."""
        while self._states:
            self._close(self._states.popitem(last=False)[1])


class Recent:
    """The latest distinct of many digests: an input that is asked again, as after a lost answer, is no new query.

    >>> recent = Recent(2)
    >>> [recent.is_new(bytes([value] * 32)) for value in (1, 1, 2, 3, 1)]
    [True, False, True, True, True]
    """

    __slots__ = ("_keys", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys: OrderedDict[int, None] = OrderedDict()

    def is_new(self, digest: bytes) -> bool:
        """Whether it is not among the latest; it is afterwards."""
        key = int.from_bytes(digest[:8])
        if key in self._keys:
            self._keys.move_to_end(key)
            return False
        if len(self._keys) >= self._most:
            self._keys.popitem(last=False)
        self._keys[key] = None
        return True
