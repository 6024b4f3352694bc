"""`redoubt audit`: verify a guard's log, prove and show its entries, and witness it."""

import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from redoubt.cli.app import app, err, out
from redoubt.cli.logs import AsJson, Key, LogPath, Witnesses, key_of, plain, reader_of, witnesses_of
from redoubt.ledger import Algorithm, Proof, Verifier, leaf_hash, verify_consistency
from redoubt.ledger.proof_text import MOST_PROOF_BYTES
from redoubt.records import Action, LedgerError, LogEntry, Place, PolicyError, Receipt
from redoubt.storage import write_atomically

if TYPE_CHECKING:
    from redoubt.service.log import LogReader

audit = typer.Typer(
    help="Check what a guard recorded: that nothing in its log was changed, taken out or put in.\n\n"
    "Exit codes: 0 verified; 1 tampered with; 3 an argument is wrong or a disk refuses.",
    no_args_is_help=True,
)
app.add_typer(audit, name="audit")

_MOST_RECEIPT_BYTES = 1 << 16
_AGAIN = 100_000  # entries between two signs of life


@audit.command()
def verify(
    log: Annotated[
        Path | None, typer.Argument(help="The log's folder. Without it, give --proof.", show_default=False)
    ] = None,
    receipt: Annotated[
        Path | None,
        typer.Option(help="Check one answer's receipt (JSON) instead of the whole log.", show_default=False),
    ] = None,
    proof: Annotated[
        Path | None, typer.Option(help="A proof that `prove` made: needs no log.", show_default=False)
    ] = None,
    key: Key = None,
    witness: Witnesses = None,
) -> None:
    """Verify a whole LOG; or one receipt against the log; or a proof and a receipt offline.

    The whole log is verified entry by entry against its tiles and its signed checkpoint. Together with the log, a
    proof's checkpoint is also checked to be a beginning of the log: two histories do not pass.

    Exit codes: 0 verified; 1 tampered with, by file and entry; 3 an argument is wrong.

    Examples: redoubt audit verify audit/ --key digits.pub

    redoubt audit verify --receipt receipt.json --proof 17.tlog-proof --key digits.pub
    """
    by, needed = key_of(log, key), witnesses_of(witness)
    said = _receipt(receipt, by) if receipt else None
    if proof:
        _verify_proof(_proof(proof), proof, log, said, by, needed)
    elif log is None:
        raise PolicyError("there is nothing to verify", remedy="give the log's folder, or --proof FILE with --key")
    elif said:
        reader = reader_of(log, by, needed)
        if said.index >= reader.size:
            raise LedgerError(
                f"the receipt is for entry {said.index}, and the log has {reader.size} entries",
                Place(str(log)),
                remedy="if the answer is older than a second, the log has lost its entry",
            )
        _check_leaf(leaf_hash(reader.proof(said.index).extra), said, log)
        _say(f"Entry {said.index} stands in the log, as the receipt says.", reader, needed)
    else:
        reader = reader_of(log, by, needed)
        reader.verify(_alive)
        _say(f"All {reader.size} entries are what was logged.", reader, needed)
        waiting = reader.unpublished()
        if waiting:
            out.print(
                f"{waiting} more are recorded in the journal and stand in no checkpoint yet; they do when the guard "
                "runs for a second.",
                soft_wrap=True,
            )


@audit.command()
def prove(
    log: LogPath,
    index: Annotated[int, typer.Argument(min=0, help="Which entry; the first is 0.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to.", show_default="INDEX.tlog-proof")
    ] = None,
    key: Key = None,
    witness: Witnesses = None,
) -> None:
    """Write the proof that an entry stands in a LOG, which others can verify without the log.

    The proof holds the entry itself, in the text format C2SP tlog-proof, with the signed checkpoint.

    Example: redoubt audit prove audit/ 17 --output 17.tlog-proof
    """
    made = reader_of(log, key_of(log, key), witnesses_of(witness)).proof(index)
    path = output or Path(f"{index}.tlog-proof")
    write_atomically(path, bytes(made))
    out.print(f"{path}: entry {index}; verify it with redoubt audit verify --proof {path} --key …", soft_wrap=True)


@audit.command()
def show(
    log: LogPath,
    index: Annotated[int | None, typer.Argument(min=0, help="One entry, in full.", show_default=False)] = None,
    account: Annotated[str | None, typer.Option(help="Only of this account.", show_default=False)] = None,
    action: Annotated[Action | None, typer.Option(help="Only with this outcome.", show_default=False)] = None,
    last: Annotated[int, typer.Option(min=1, help="So many, the latest.")] = 20,
    as_json: AsJson = False,
    key: Key = None,
) -> None:
    """Show entries of a LOG, the latest last.  Each is checked against the hash that was logged.

    Examples: redoubt audit show audit/ --action lock --last 5

    redoubt audit show audit/ 17 --json
    """
    reader = reader_of(log, key_of(log, key), ())
    if index is not None:
        chosen = [(index, _parsed(reader.proof(index).extra, index, log))]
    else:
        chosen = _latest(reader, log, account, action, last)
    if as_json:
        for at, entry in chosen:
            line = json.dumps({"index": at, "entry": entry.model_dump(mode="json", exclude_none=True)})
            out.print(line, markup=False, soft_wrap=True)
    elif index is not None:
        _show_whole(*chosen[0])
    else:
        _show_table(chosen, reader)


@audit.command()
def witness(
    log: LogPath,
    name: Annotated[
        str,
        typer.Option(help="The witness's name, as witness.example/w1; its key is made with it.", show_default=False),
    ],
    state: Annotated[
        Path,
        typer.Option(help="The witness's own folder: its key, and what it saw. Keep it from the log's owner."),
    ] = Path("witness"),
    key: Key = None,
) -> None:
    """Cosign the checkpoint of a LOG, as somebody whom its owner does not command.

    A witness remembers the last checkpoint that it cosigned and cosigns the next only if that continues the first: a
    log that was rolled back, or that shows two histories, is refused. Run it now and then, from cron for instance.
    Who verifies the log with --witness knows that all others were shown the same history.

    Example: redoubt audit witness audit/ --name witness.example/w1 --state ~/witness --key digits.pub
    """
    from redoubt.service.log import load_or_make, witness_log

    signer = load_or_make(state / "witness.key", name, Algorithm.COSIGNATURE_V1)
    checkpoint = witness_log(log, key_of(log, key), signer, state, int(time.time()))
    out.print(f"{log}: cosigned the checkpoint of {checkpoint.size} entries.", soft_wrap=True)
    out.print(f"verifier key: {signer.verifier}", markup=False, soft_wrap=True)


# ── arguments ────────────────────────────────────────────────────────────────────────────────────────────────────


def _bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(most + 1)
    except OSError as error:
        raise PolicyError(f"cannot read {path}: {error.strerror}", remedy="give a file that can be read") from error
    if len(raw) > most:
        raise PolicyError(f"{path} has more than {most} bytes", remedy="give a receipt, or a proof as `prove` makes it")
    return raw


def _receipt(path: Path, by: Verifier) -> Receipt:
    try:
        receipt = Receipt.model_validate_json(_bytes(path, _MOST_RECEIPT_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        raise PolicyError(
            f"not a receipt: {'.'.join(map(str, first['loc']))} {first['msg']}",
            Place(str(path)),
            remedy='give the JSON of one receipt: {"origin": …, "index": …, "leaf": …}',
        ) from error
    if receipt.origin != by.name:
        raise PolicyError(
            f"the receipt is of the log '{plain(receipt.origin)}', and the key of '{by.name}'",
            Place(str(path)),
            remedy="give the key of the log that the receipt names",
        )
    return receipt


def _proof(path: Path) -> Proof:
    try:
        return Proof.parse(_bytes(path, MOST_PROOF_BYTES))
    except LedgerError as error:
        raise _placed(error, path) from error


# ── verifying ────────────────────────────────────────────────────────────────────────────────────────────────────


def _verify_proof(
    proof: Proof, path: Path, log: Path | None, said: Receipt | None, by: Verifier, witnesses: Sequence[Verifier]
) -> None:
    if said and said.index != proof.index:
        raise PolicyError(
            f"the receipt is for entry {said.index}, and the proof for entry {proof.index}",
            remedy=f"make the proof that belongs to it: redoubt audit prove LOG {said.index}",
        )
    if not said and not proof.extra:
        raise PolicyError("the proof does not hold the entry that it proves", remedy="give its receipt with --receipt")
    if said and proof.extra:
        _check_leaf(leaf_hash(proof.extra), said, path)
    leaf = bytes.fromhex(said.leaf) if said else leaf_hash(proof.extra)
    try:
        checkpoint = proof.verify(leaf, by, witnesses)
    except LedgerError as error:
        raise _placed(error, path) from error
    out.print(
        f"Entry {proof.index} stands in the log '{checkpoint.origin}', in its checkpoint of {checkpoint.size} entries.",
        markup=False,
        soft_wrap=True,
    )
    if proof.extra:
        _show_whole(proof.index, _parsed(proof.extra, proof.index, path))
    if log is None:
        return
    reader = reader_of(log, by, ())
    if reader.size < checkpoint.size:
        raise LedgerError(
            f"the log has {reader.size} entries, and the proof's checkpoint {checkpoint.size}: it was rolled back",
            Place(str(log)),
        )
    verify_consistency(
        checkpoint.size,
        reader.size,
        checkpoint.root,
        reader.checkpoint.root,
        reader.consistency(checkpoint.size),
    )
    out.print(f"The log at {log} continues that checkpoint; it has {reader.size} entries.", soft_wrap=True)


def _check_leaf(leaf: bytes, said: Receipt, path: Path) -> None:
    if leaf.hex() != said.leaf:
        raise LedgerError(
            f"entry {said.index} is not the one that the receipt was given for",
            Place(str(path)),
            remedy="keep the receipt: with the log's checkpoint, it shows that the log was changed",
        )


def _say(what: str, reader: "LogReader", witnesses: Sequence[Verifier]) -> None:
    checkpoint = reader.checkpoint
    seen = f", cosigned by {', '.join(witness.name for witness in witnesses)}" if witnesses else ""
    out.print(
        f"{what} Log '{checkpoint.origin}', checkpoint of {checkpoint.size} entries, "
        f"root {checkpoint.root.hex()}{seen}.",
        markup=False,
        soft_wrap=True,
    )


def _alive(entries: int) -> None:
    if err.is_terminal and entries % _AGAIN < 256:
        err.print(f"{entries} entries verified")


def _placed(error: LedgerError, path: Path) -> LedgerError:
    return LedgerError(error.what, Place(str(path)), remedy=error.remedy)


# ── showing ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _latest(
    reader: "LogReader", log: Path, account: str | None, action: Action | None, most: int
) -> list[tuple[int, LogEntry]]:
    """The latest entries of that account and action, oldest first."""
    found: list[tuple[int, LogEntry]] = []
    for index in range(reader.size - 1, -1, -1):
        entry = _parsed(reader.entry(index), index, log)
        if account in (None, entry.account) and action in (None, entry.action):
            found.append((index, entry))
            if len(found) == most:
                break
    return found[::-1]


def _parsed(raw: bytes, index: int, path: Path) -> LogEntry:
    from redoubt.service.log import parse_entry

    try:
        return parse_entry(raw)
    except LedgerError as error:
        raise LedgerError(
            f"entry {index}: {error.what}", Place(str(path)), remedy="the log was made by others"
        ) from error


def _show_table(chosen: Sequence[tuple[int, LogEntry]], reader: "LogReader") -> None:
    table = Table("entry", "time (UTC)", "account", "tier", "outcome", "label", "why", box=None, pad_edge=False)
    for at, entry in chosen:
        outcome = entry.action or entry.kind
        label = "" if entry.label is None else str(entry.label)
        words = (str(at), _when(entry), entry.account, entry.tier, outcome, label, entry.why or entry.rule)
        table.add_row(*(Text(plain(word or "")) for word in words))
    out.print(table)
    out.print(f"{len(chosen)} of {reader.size} entries")


def _show_whole(index: int, entry: LogEntry) -> None:
    for name, value in _fields(index, entry):
        out.print(Text(f"{name:<12} {value}"), soft_wrap=True)


def _fields(index: int, entry: LogEntry) -> Iterator[tuple[str, str]]:
    yield "entry", str(index)
    yield "time", _when(entry) + " UTC"
    for name, value in entry.model_dump(mode="json", exclude_none=True, exclude={"at"}).items():
        yield name, plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _when(entry: LogEntry) -> str:
    try:
        return datetime.fromtimestamp(entry.at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except (OverflowError, ValueError, OSError):
        return f"{entry.at} ms"
