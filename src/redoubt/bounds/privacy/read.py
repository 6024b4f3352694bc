"""Ledgers as files: canonical JSON out, and in again, strictly."""

import difflib
import json
from pathlib import Path

from pydantic import ValidationError

from redoubt.bounds.privacy.events import KINDS
from redoubt.bounds.privacy.ledger import PrivacyLedger
from redoubt.records import DataError, Place
from redoubt.records.canonical import canonical_json

MOST_BYTES = 1 << 20
_KINDS = "the kinds of event are"


def write_ledger(ledger: PrivacyLedger) -> bytes:
    """The ledger as canonical JSON, with a line feed at its end: the same ledger, the same bytes."""
    return canonical_json(ledger) + b"\n"


def read_ledger(path: Path) -> PrivacyLedger:
    """The ledger in a file.

    Raises:
        DataError: there is no such file, it cannot be read, or as `parse_ledger`.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror or error}", Place(str(path)), remedy="name a privacy ledger, in JSON"
        ) from error
    return parse_ledger(raw, str(path))


def parse_ledger(raw: bytes, name: str) -> PrivacyLedger:
    """The ledger in these bytes.

    Args:
        raw: JSON in UTF-8, at most `MOST_BYTES`.
        name: of the file, for messages.

    Raises:
        DataError: too long, no JSON, a key twice, an unknown key or event, a value out of range; says where in the
        ledger.
    """
    if len(raw) > MOST_BYTES:
        raise DataError(
            f"has more than {MOST_BYTES} bytes",
            Place(name),
            remedy="count like events together, by `steps` and `times`",
        )
    try:
        plain = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise DataError(
            f"is no JSON: {error.msg}", Place(name, error.lineno, error.colno), remedy="write the ledger again"
        ) from error
    except (ValueError, RecursionError) as error:  # also bytes that are no UTF-8, and numbers of thousands of digits
        what = "nested too deep" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        raise DataError(f"is no sound JSON: {what}", Place(name), remedy="write the ledger again") from error
    if not isinstance(plain, dict) or "redoubt_privacy" not in plain:
        raise DataError(
            "is no privacy ledger: it does not begin with the key redoubt_privacy",
            Place(name),
            remedy='write {"redoubt_privacy": 1, "events": [...]}',
        )
    try:
        return PrivacyLedger.model_validate_json(raw, strict=True)
    except ValidationError as error:
        raise _said(error, name) from error


def _said(error: ValidationError, name: str) -> DataError:
    """The first of pydantic's complaints, in our words."""
    first = error.errors(include_url=False)[0]
    where, kinds = "", set()
    for part in first["loc"]:
        if isinstance(part, int):
            where += f"[{part}]"
        elif str(part) in KINDS:
            kinds.add(str(part))  # pydantic names the member of the union that it tried
        else:
            where += f".{part}" if where else str(part)
    head = f"{where}: " if where else ""
    if first["type"] == "union_tag_invalid":
        tag = str(first["ctx"]["tag"])
        near = difflib.get_close_matches(tag, KINDS, 1)
        remedy = f"did you mean '{near[0]}'? " if near else ""
        return DataError(
            f"{head}unknown event '{tag}': what nobody can count may have cost anything",
            Place(name),
            remedy=f"{remedy}{_KINDS} {', '.join(KINDS)}",
        )
    if first["type"] == "union_tag_not_found":
        return DataError(f"{head}an event without `kind`", Place(name), remedy=f"{_KINDS} {', '.join(KINDS)}")
    if first["type"] == "extra_forbidden":
        return DataError(f"{head}unknown key", Place(name), remedy="take it out; nothing here is ignored")
    message = first["msg"].removeprefix("Value error, ")
    return DataError(
        f"{head}{message[:1].lower()}{message[1:]}",
        Place(name),
        remedy="correct the value, as docs/privacy.md describes it",
    )


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice = next(key for at, (key, _) in enumerate(pairs) if key in [other for other, _ in pairs[:at]])
        raise ValueError(f"the key '{twice}' stands twice in one object")
    return made


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")
