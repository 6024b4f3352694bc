"""The store in one SQLite file: for a guard that runs alone, or several on one machine."""

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Insert, QueuePool, bindparam, create_engine, func, insert, inspect, select
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from redoubt.records import Fault, Place, Standing, StorageError
from redoubt.service.stores import tables
from redoubt.service.stores.base import Print
from redoubt.service.stores.migrate import VERSION_TABLE
from redoubt.service.stores.sql import PRINT_COLUMNS, STANDING_COLUMNS, Guarded, SqlStore, as_row, as_standings

_PATIENCE = 5.0  # seconds that another process may take over its transaction
_WAL_PAGES = 8192  # 32 MiB: whoever commits beyond it moves the write-ahead log into the file, so let it be seldom
_WAL_BYTES = 64 * 2**20  # what the write-ahead log is cut back to


def _text(statement: Insert, names: Sequence[str]) -> str:
    """The statement with a question mark for each of these columns, in their order."""
    compiled = statement.compile(dialect=sqlite_dialect(), column_keys=list(names))
    if compiled.positiontup != list(names):
        raise Fault("a statement's columns are in another order", remedy="please report this")
    return str(compiled)


_AMONG = select(tables.standings).where(
    tables.standings.c.account.in_(select(func.json_each(bindparam("accounts")).table_valued("value").c.value))
)
_NEW = upsert(tables.standings)
# These two take many rows: compiled once, as text, they take a tuple a row, and SQLAlchemy does nothing for each.
_PUT = _text(
    _NEW.on_conflict_do_update(
        index_elements=["account"], set_={name: _NEW.excluded[name] for name in STANDING_COLUMNS[1:]}
    ),
    STANDING_COLUMNS,
)
_ADD = _text(insert(tables.prints), PRINT_COLUMNS)
_LAST_ID = select(func.last_insert_rowid())

_MEANINGS = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space; the store goes on by itself"),
    sqlite3.SQLITE_BUSY: (
        f"another process has held the store for {_PATIENCE:.0f} s",
        "stop what else writes to the file, a backup for example",
    ),
    sqlite3.SQLITE_READONLY: ("the store may not be written to", "give the guard's user the file and its folder"),
    sqlite3.SQLITE_NOTADB: ("this is no SQLite database", "name another file under guard.identify.keys"),
    sqlite3.SQLITE_CORRUPT: ("the store is damaged", "restore it from a backup"),
    sqlite3.SQLITE_CANTOPEN: (
        "the file cannot be opened",
        "look whether its folder exists and the guard's user may write there",
    ),
    sqlite3.SQLITE_IOERR: ("the disk does not read or write", "look into the system's log; the disk may be failing"),
}


class SqliteStore(SqlStore):
    """Keys, standings, fingerprints, versions and events in one file, which only its owner may read (mode 0600).

    WAL journal.  Transactions that write begin with `BEGIN IMMEDIATE`, so they run one after the other and never
    deadlock.  What must survive a power cut is committed with `synchronous=FULL`; standings and fingerprints with
    NORMAL, which leaves the file sound but may lose the latest of them.
    """

    def __init__(self, path: Path) -> None:
        """Prefer `open`, which makes the tables."""
        self.path = path
        engine = create_engine(
            "sqlite+pysqlite://",
            creator=self._connect,
            poolclass=QueuePool,
            pool_size=8,
            max_overflow=24,
            pool_timeout=_PATIENCE,
            hide_parameters=True,
        )
        super().__init__(engine, readers=engine)
        # SQLite's own waiting is a sleep and no queue: threads of one process wait here instead.
        self._in_turn = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file, or make it, and bring its tables up to date.

        Raises:
            StorageError: it is no store, is newer than this program, or cannot be read and written.
        """
        try:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError as error:
            raise StorageError(
                f"cannot make the store: {error.strerror}",
                Place(str(path)),
                remedy="name a file in a folder that exists and can be written to, under guard.identify.keys",
            ) from error
        store = cls(path)
        try:
            store._read(_refuse_strangers)
            store._read(_use_wal)
            store._prepare()
        except StorageError as error:
            store.close()
            raise StorageError(error.what, Place(str(path)), remedy=error.remedy) from error
        return store

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=_PATIENCE,
            isolation_level=None,  # transactions begin where `_begin` says so, and nowhere else
            check_same_thread=False,  # the pool gives a connection to one thread at a time
            cached_statements=256,
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _begin(self, connection: Connection, *, sure: bool) -> None:
        connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if sure else 'NORMAL'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def _wait_for(self, connection: Connection, what: Guarded, names: Sequence[str] = ()) -> None:
        """Whoever has begun is alone already."""

    def _standings(self, connection: Connection, accounts: Sequence[str]) -> dict[str, Standing]:
        return as_standings(connection.execute(_AMONG, {"accounts": json.dumps(accounts)}).all())

    def _put_standings(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        connection.exec_driver_sql(_PUT, [tuple(row[name] for name in STANDING_COLUMNS) for row in rows])

    def _put_prints(self, connection: Connection, prints: Sequence[Print]) -> list[int]:
        connection.exec_driver_sql(_ADD, [as_row(each) for each in prints])
        last = connection.execute(_LAST_ID).scalar_one()  # nobody else inserts meanwhile, so they are consecutive
        return list(range(last - len(prints) + 1, last + 1))

    def _storage_error(self, error: SQLAlchemyError) -> StorageError:
        code = getattr(error.orig, "sqlite_errorcode", None) if isinstance(error, DBAPIError) else None
        what, remedy = _MEANINGS.get(
            (code or 0) & 0xFF,  # the rest of a code tells variants apart
            (f"SQLite fails: {getattr(error, 'orig', error)}", "look whether the file and its disk are sound"),
        )
        return StorageError(what, Place(str(self.path)), remedy=remedy)

    def _may_retry(self, error: DBAPIError, *, committing: bool) -> bool:
        return False


def _refuse_strangers(connection: Connection) -> None:
    """Leave another program's database as it is."""
    names = inspect(connection).get_table_names()
    if names and VERSION_TABLE not in names:
        raise StorageError("this is another program's database", remedy="name another file under guard.identify.keys")


def _use_wal(connection: Connection) -> None:
    """Once for the file, which remembers it."""
    if connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar() != "wal":
        raise StorageError(
            "SQLite's write-ahead log does not work here",
            remedy="put the file on a disk of this machine, or use PostgreSQL",
        )
