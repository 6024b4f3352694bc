"""What the two stores have in common: every statement that both databases understand."""

import abc
import enum
import json
import operator
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from redoubt.records import Fault, PolicyError, Standing, StorageError
from redoubt.records.canonical import canonical_json
from redoubt.service.stores import limits, tables
from redoubt.service.stores.base import Event, Print, Scope, Store, StoredKey, Version
from redoubt.service.stores.migrate import migrate, needs_migration

T = TypeVar("T")

_ATTEMPTS = 3
_PRUNED_AT_ONCE = 2_000  # so that nobody who charges an account waits long for the pruning
_SCOPES: dict[str, Scope] = {"client": "client", "auditor": "auditor", "admin": "admin"}

STANDING_COLUMNS = tuple(tables.standings.columns.keys())
PRINT_COLUMNS = ("account", "digest", "hashes", "at")
as_row: Callable[[Print], tuple[str, bytes, bytes, float]] = operator.attrgetter(*PRINT_COLUMNS)
"""A fingerprint's columns."""

_KEYS = select(tables.keys).order_by(tables.keys.c.made_at, tables.keys.c.id)
_KEY = select(tables.keys).where(tables.keys.c.id == bindparam("identity"))
_REVOKE = (
    update(tables.keys)
    .where(tables.keys.c.id == bindparam("identity"), tables.keys.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("now"))
)
_LAST_SEEN = (
    select(tables.standings)
    .order_by(tables.standings.c.seen_at.desc(), tables.standings.c.account)
    .limit(bindparam("most"))
)
_PRINTS_AFTER = (
    select(tables.prints)
    .where(tables.prints.c.id > bindparam("identity"))
    .order_by(tables.prints.c.id)
    .limit(bindparam("most"))
)
_LATEST_PRINT = select(func.max(tables.prints.c.id))
_FORGET = delete(tables.prints).where(
    tables.prints.c.id.in_(
        select(tables.prints.c.id)
        .where(tables.prints.c.id <= bindparam("last"))
        .order_by(tables.prints.c.id)
        .limit(_PRUNED_AT_ONCE)
    )
)
_VERSIONS = select(tables.versions).order_by(tables.versions.c.number)
_LATEST_VERSION = select(tables.versions).order_by(tables.versions.c.number.desc()).limit(1)
_EVENTS = select(tables.events).order_by(tables.events.c.id).limit(bindparam("most"))
_TAKE_EVENTS = _EVENTS.with_for_update(skip_locked=True)
_SALT = select(tables.itself.c.salt)
_CHECK = update(tables.itself).values(checks=tables.itself.c.checks + 1)


class Guarded(enum.IntEnum):
    """What only one replica may do at a time."""

    MIGRATE = 0
    PRINTS = 1
    VERSIONS = 2
    ACCOUNTS = 3


class SqlStore(Store):
    """A store in a SQL database, through SQLAlchemy Core.

    Subclasses say how a transaction begins, what replicas wait for, how many rows are read and written at once, and
    what the database's errors mean.
    """

    def __init__(self, engine: Engine, readers: Engine) -> None:
        """Take over both engines.

        Args:
            engine: for transactions.
            readers: for single statements that need none; shares the connections of `engine`.
        """
        self._engine = engine
        self._readers = readers
        self._in_turn: AbstractContextManager[object] = nullcontext()
        self._salt: bytes | None = None
        self._salt_lock = threading.Lock()

    # ── what databases differ in ─────────────────────────────────────────────────────────────────────────────────

    @abc.abstractmethod
    def _begin(self, connection: Connection, *, sure: bool) -> None:
        """Begin a transaction that writes; `sure`: it survives a power cut once it is committed."""

    @abc.abstractmethod
    def _wait_for(self, connection: Connection, what: Guarded, names: Sequence[str] = ()) -> None:
        """Wait until no other transaction does the same, to any of the same names, and keep it so until the end."""

    @abc.abstractmethod
    def _standings(self, connection: Connection, accounts: Sequence[str]) -> dict[str, Standing]:
        """The standings that are kept, of those accounts."""

    @abc.abstractmethod
    def _put_standings(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert or replace standings."""

    @abc.abstractmethod
    def _put_prints(self, connection: Connection, prints: Sequence[Print]) -> list[int]:
        """Insert fingerprints; their ids, growing."""

    @abc.abstractmethod
    def _storage_error(self, error: SQLAlchemyError) -> StorageError:
        """What a database's error means, and what to do about it."""

    @abc.abstractmethod
    def _may_retry(self, error: DBAPIError, *, committing: bool) -> bool:
        """Whether a transaction that failed certainly changed nothing, and may do better when tried again."""

    # ── transactions ─────────────────────────────────────────────────────────────────────────────────────────────

    def _change(self, work: Callable[[Connection], T], *, sure: bool) -> T:
        """Run `work` in a transaction, and once more if it collided or found a connection that had died meanwhile."""
        for attempt in range(1, _ATTEMPTS + 1):
            committing = False
            try:
                with self._in_turn, self._engine.connect() as connection:
                    self._begin(connection, sure=sure)
                    result = work(connection)
                    committing = True
                    connection.commit()
                    return result
            except DBAPIError as error:
                if attempt == _ATTEMPTS or not self._may_retry(error, committing=committing):
                    raise self._storage_error(error) from error
            except SQLAlchemyError as error:
                raise self._storage_error(error) from error
        raise Fault("a transaction was tried again for ever", remedy="please report this")

    def _read(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, which is one statement that reads."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._readers.connect() as connection:
                    return work(connection)
            except DBAPIError as error:
                if attempt == _ATTEMPTS or not self._may_retry(error, committing=False):
                    raise self._storage_error(error) from error
            except SQLAlchemyError as error:
                raise self._storage_error(error) from error
        raise Fault("a statement was tried again for ever", remedy="please report this")

    def _prepare(self) -> None:
        """Bring the tables up to date; called once, before anything else."""
        if self._read(needs_migration):
            self._change(self._migrate, sure=True)

    def _migrate(self, connection: Connection) -> None:
        self._wait_for(connection, Guarded.MIGRATE)
        if needs_migration(connection):  # another replica may have been quicker
            migrate(connection)
        if connection.execute(_SALT).first() is None:
            connection.execute(insert(tables.itself), {"id": 1, "salt": os.urandom(32), "checks": 0})

    # ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def add_key(self, key: StoredKey, by: str) -> None:
        limits.check_text("the key's id", key.id, limits.ACCOUNT)
        limits.check_text("the tier", key.tier, 64)
        limits.check_text("the note", key.note, limits.NOTE)
        limits.check_text("the administrator's name", by, limits.ACCOUNT)
        limits.check_bytes("the secret's digest", key.secret, limits.DIGEST, limits.DIGEST)
        scopes = " ".join(sorted(key.scopes))

        def work(connection: Connection) -> None:
            if connection.execute(_KEY, {"identity": key.id}).first() is not None:
                raise PolicyError(f"there is a key {key.id!r} already", remedy="make another one")
            connection.execute(insert(tables.keys), vars(key) | {"scopes": scopes})
            detail = {"did": "add", "key": key.id, "tier": key.tier, "scopes": scopes.split(), "by": by}
            _put_event(connection, key.made_at, detail)

        self._change(work, sure=True)

    def key(self, identity: str) -> StoredKey | None:
        limits.check_text("the key's id", identity, limits.ACCOUNT)
        row = self._read(lambda connection: connection.execute(_KEY, {"identity": identity}).one_or_none())
        return None if row is None else _stored_key(*row)

    def keys(self) -> list[StoredKey]:
        return [_stored_key(*row) for row in self._read(lambda connection: connection.execute(_KEYS).all())]

    def revoke(self, identity: str, at: float, by: str) -> bool:
        limits.check_text("the key's id", identity, limits.ACCOUNT)
        limits.check_text("the administrator's name", by, limits.ACCOUNT)

        def work(connection: Connection) -> bool:
            if connection.execute(_REVOKE, {"identity": identity, "now": at}).rowcount != 1:
                return False
            _put_event(connection, at, {"did": "revoke", "key": identity, "by": by})
            return True

        return self._change(work, sure=True)

    # ── standings ────────────────────────────────────────────────────────────────────────────────────────────────

    def standings(self, most: int = 10_000) -> dict[str, Standing]:
        return self._read(lambda connection: as_standings(connection.execute(_LAST_SEEN, {"most": most}).all()))

    def turn(
        self, accounts: Sequence[str], change: Callable[[Mapping[str, Standing]], Mapping[str, Standing]]
    ) -> Mapping[str, Standing]:
        names = sorted(set(accounts))
        for name in names:
            limits.check_text("the account", name, limits.ACCOUNT)
        if not names:
            return {}

        def work(connection: Connection) -> dict[str, Standing]:
            self._wait_for(connection, Guarded.ACCOUNTS, names)
            before = dict.fromkeys(names, Standing()) | self._standings(connection, names)
            after = change(MappingProxyType(before))
            if after.keys() - before.keys():
                raise Fault("a change of standings went to other accounts", remedy="please report this")
            differing = {name: standing for name, standing in after.items() if standing != before[name]}
            if differing:
                rows = [{"account": name, **vars(standing)} for name, standing in differing.items()]
                self._put_standings(connection, rows)
            return before | differing

        return self._change(work, sure=False)

    # ── fingerprints ─────────────────────────────────────────────────────────────────────────────────────────────

    def add_prints(self, prints: Sequence[Print]) -> list[int]:
        for account in {row.account for row in prints}:
            limits.check_text("the account", account, limits.ACCOUNT)
        for row in prints:
            limits.check_bytes("the input's digest", row.digest, limits.DIGEST, limits.DIGEST)
            limits.check_bytes("the fingerprint", row.hashes, 1, limits.HASHES)
        if not prints:
            return []

        def work(connection: Connection) -> list[int]:
            self._wait_for(connection, Guarded.PRINTS)
            return self._put_prints(connection, prints)

        return self._change(work, sure=False)

    def prints_after(self, identity: int, most: int) -> list[Print]:
        wanted = {"identity": identity, "most": most}
        rows = self._read(lambda connection: connection.execute(_PRINTS_AFTER, wanted).all())
        return [Print(account, digest, hashes, at, number) for number, account, digest, hashes, at in rows]

    def prune_prints(self, keep: int) -> int:
        # By their numbers, since to count them takes a look at each.
        last = (self._read(lambda connection: connection.execute(_LATEST_PRINT).scalar()) or 0) - keep
        forgotten = 0
        while last > 0:
            now = self._change(lambda connection: connection.execute(_FORGET, {"last": last}).rowcount, sure=False)
            forgotten += now
            if now < _PRUNED_AT_ONCE:
                break
        return forgotten

    # ── policy versions ──────────────────────────────────────────────────────────────────────────────────────────

    def add_version(self, digest: str, text: str, at: float, by: str) -> Version:
        limits.check_text("the policy's digest", digest, 80)
        limits.check_text("the policy", text, limits.POLICY_TEXT)
        limits.check_text("the administrator's name", by, limits.ACCOUNT)

        def work(connection: Connection) -> Version:
            self._wait_for(connection, Guarded.VERSIONS)
            number = (connection.execute(_LATEST_VERSION).scalar() or 0) + 1
            row = {"number": number, "digest": digest, "text": text, "at": at, "by": by}
            connection.execute(insert(tables.versions), row)
            return Version(number, digest, text, at, by, active=True)

        return self._change(work, sure=True)

    def versions(self) -> list[Version]:
        rows = self._read(lambda connection: connection.execute(_VERSIONS).all())
        return [_version(row, active=row is rows[-1]) for row in rows]

    def latest_version(self) -> Version | None:
        row = self._read(lambda connection: connection.execute(_LATEST_VERSION).one_or_none())
        return None if row is None else _version(row, active=True)

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────

    def take_events(self, most: int, write: Callable[[Sequence[Event]], None]) -> int:
        if not self._read(lambda connection: connection.execute(_EVENTS, {"most": 1}).all()):
            return 0  # which is nearly always so, and nobody waits for it

        def work(connection: Connection) -> int:
            rows = connection.execute(_TAKE_EVENTS, {"most": most}).all()
            if not rows:
                return 0
            write([Event(row.id, row.at, row.kind, json.loads(row.detail)) for row in rows])
            connection.execute(delete(tables.events).where(tables.events.c.id.in_([row.id for row in rows])))
            return len(rows)

        return self._change(work, sure=True)

    # ── itself ───────────────────────────────────────────────────────────────────────────────────────────────────

    def salt(self) -> bytes:
        with self._salt_lock:
            if self._salt is None:
                self._salt = bytes(self._read(lambda connection: connection.execute(_SALT).scalar_one()))
            return self._salt

    def check(self) -> None:
        if self._change(lambda connection: connection.execute(_CHECK).rowcount, sure=False) != 1:
            raise StorageError("the store has lost its own row", remedy="restore it from a backup")

    def close(self) -> None:
        self._engine.dispose()


def as_standings(rows: Sequence[Any]) -> dict[str, Standing]:
    """Rows of the table of standings as standings.

    Raises:
        StorageError: one says what no standing can be.
    """
    try:
        return {row[0]: Standing(**dict(zip(STANDING_COLUMNS[1:], row[1:], strict=True))) for row in rows}
    except ValidationError as error:
        raise StorageError(
            "the store holds a standing that cannot be", remedy="restore it from a backup; somebody has edited it"
        ) from error


def _stored_key(
    identity: str, secret: bytes, tier: str, scopes: str, note: str, made_at: float, revoked_at: float | None
) -> StoredKey:
    known = frozenset(_SCOPES[scope] for scope in scopes.split() if scope in _SCOPES)
    return StoredKey(identity, bytes(secret), tier, known, note, made_at, revoked_at)


def _version(row: Any, *, active: bool) -> Version:
    number, digest, text, at, by = row
    return Version(number, digest, text, at, by, active)


def _put_event(connection: Connection, at: float, detail: dict[str, Any]) -> None:
    connection.execute(insert(tables.events), {"at": at, "kind": "key", "detail": canonical_json(detail).decode()})
