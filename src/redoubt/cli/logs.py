"""What the commands that read a log have in common: its folder, the keys to verify with, and words fit to be shown."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.app import err
from redoubt.ledger import Algorithm, Verifier
from redoubt.records import PolicyError

if TYPE_CHECKING:
    from redoubt.service.log import LogReader

LogPath = Annotated[Path, typer.Argument(help="The log's folder: guard.record.log of the policy.", show_default=False)]
Key = Annotated[
    str | None,
    typer.Option(
        help="The log's verifier key (name+hash+base64), or a file that holds it. Have it from the log's owner, once, "
        "by another way than the log.",
        show_default="LOG.pub",
    ),
]
Witnesses = Annotated[
    list[str] | None,
    typer.Option("--witness", help="Verifier key, or its file, of a witness who must have cosigned. May be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def key_of(log: Path | None, key: str | None) -> Verifier:
    """The verifier key that is given, or the one that lies beside the log.

    Raises:
        PolicyError: there is none, or it is not a log's.
    """
    from redoubt.service.log import read_verifier, verifier_file

    if key:
        return _of_type(read_verifier(key), Algorithm.ED25519, "a log")
    if log is None:
        raise PolicyError("there is no key to verify with", remedy="give the log's verifier key with --key")
    beside = verifier_file(log.resolve())
    if not beside.is_file():
        raise PolicyError(
            f"there is no log at {log}, or its verifier key {beside} is missing",
            remedy="give the folder that guard.record.log names, and the verifier key with --key",
        )
    err.print(
        f"note: verifying with {beside}, which whoever can change the log can change too; better give --key",
        markup=False,
        soft_wrap=True,
    )
    return read_verifier(str(beside))


def witnesses_of(texts: Sequence[str] | None) -> list[Verifier]:
    """The verifier keys of witnesses, or of the files that hold them."""
    from redoubt.service.log import read_verifier

    return [_of_type(read_verifier(text), Algorithm.COSIGNATURE_V1, "a witness") for text in texts or ()]


def _of_type(key: Verifier, algorithm: Algorithm, whose: str) -> Verifier:
    if key.algorithm is not algorithm:
        raise PolicyError(
            f"the key of '{key.name}' is not {whose}'s: it is of type {key.algorithm:d}, not {algorithm:d}",
            remedy="give --key the log's key, and --witness those that `redoubt audit witness` prints",
        )
    return key


def reader_of(log: Path, by: Verifier, witnesses: Sequence[Verifier]) -> "LogReader":
    """A reader of the log in a folder.

    Raises:
        PolicyError: there is no log.
        LedgerError: its checkpoint is not signed by these keys.
    """
    from redoubt.service.log import LogReader

    if not log.is_dir():
        raise PolicyError(f"there is no log at {log}", remedy="give the folder that guard.record.log names")
    return LogReader(log, by, witnesses)


def plain(text: str) -> str:
    """What a customer wrote, without letters that move the cursor or colour the terminal."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
