"""The error tree, drawn once: one family per guilty party.

    RedoubtError
    ├── PolicyError     your policy or argument            exit 3
    ├── DataError       your data                          exit 3
    ├── ModelError      the model or its artefact          exit 3
    ├── EndpointError   the other side of a connection     exit 3
    ├── StorageError    the disk the evidence goes to      exit 3
    ├── LedgerError     whoever changed a log or a proof   exit 1
    ├── SignatureError  whoever changed what was signed    exit 1
    └── Fault           Redoubt itself                     exit 4

Foreign exceptions are turned into one of these at the wall where they enter.
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Place:
    """Where in a file something stands.  `line` and `column` count from 1; 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """`file`, `file:line` or `file:line:column`."""
        return ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])


class RedoubtError(Exception):
    """What is wrong, where it stands, and what to do about it.

    `str()` gives the message as the command line prints it:

    >>> print(PolicyError("unknown key 'radios'", Place("policy.yaml", 12, 5), remedy="write 'radius'"))
    policy.yaml:12:5: unknown key 'radios'
      remedy: write 'radius'
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, what: str, where: Place | None = None, *, remedy: str = "") -> None:
        super().__init__(what, where, remedy)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  remedy: {self.remedy}" if self.remedy else head

    def __reduce__(self) -> tuple[object, ...]:
        """Errors cross process boundaries whole."""
        return _rebuild, (type(self), self.what, self.where, self.remedy)


def _rebuild(kind: type[RedoubtError], what: str, where: Place | None, remedy: str) -> RedoubtError:
    return kind(what, where, remedy=remedy)


class PolicyError(RedoubtError):
    """The policy, or a command-line argument, is wrong."""


class DataError(RedoubtError):
    """A data set cannot be read, is empty, or does not fit the model."""


class ModelError(RedoubtError):
    """A model cannot be loaded safely, or does not behave as a classifier of the declared face."""


class EndpointError(RedoubtError):
    """A remote model does not answer, or answers something else than its protocol says."""


class StorageError(RedoubtError):
    """Evidence cannot be written or read back."""


class LedgerError(RedoubtError):
    """A log, a checkpoint or a proof is not what was signed: somebody or something changed it."""

    exit_code: ClassVar[int] = 1


class SignatureError(RedoubtError):
    """A signature does not hold, or what it was made over is not what is there now."""

    exit_code: ClassVar[int] = 1


class Fault(RedoubtError):
    """Redoubt broke one of its own promises; please report it."""

    exit_code: ClassVar[int] = 4
