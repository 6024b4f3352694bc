"""The store in a PostgreSQL database: for several replicas of one guard."""

import zlib
from collections.abc import Generator, Mapping, Sequence
from time import monotonic
from typing import Any, Self, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import ARRAY, Connection, Table, any_, bindparam, create_engine, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from redoubt.records import Place, PolicyError, Standing, StorageError
from redoubt.service.stores import tables
from redoubt.service.stores.base import Print
from redoubt.service.stores.sql import PRINT_COLUMNS, STANDING_COLUMNS, Guarded, SqlStore, as_row, as_standings

_CONNECT = 3  # seconds to reach the server
_STATEMENT = 4.0  # seconds for one statement, the waiting for other replicas included
_ANSWER = 5.0  # seconds after which a server that says nothing at all is taken for gone
_IDLE = 10.0  # seconds after which the server gives up on a replica that froze in a transaction
_MIGRATION = 60.0

_SETTINGS = {
    "statement_timeout": int(_STATEMENT * 1000),
    "lock_timeout": int(_STATEMENT * 1000) - 500,
    "idle_in_transaction_session_timeout": int(_IDLE * 1000),
    "synchronous_commit": "off",  # `_begin` turns it on for what must survive a power cut of the server
}
_KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 2, "tcp_user_timeout": 5000}
_SECRETS = ("password", "sslpassword", "oauth_client_secret")

_LOCKS = 0x72646200  # first of two halves of our advisory locks: "rdb", and what is guarded
_COLLISIONS = frozenset({"40001", "40P01"})  # serialisation failure, deadlock: the server has rolled back

T = TypeVar("T")


def _rows_of(table: Table, names: Sequence[str]) -> Any:
    """`SELECT * FROM unnest(:a, :b, …)`: many rows in one statement that is the same for any number of them."""
    arrays = [bindparam(name, type_=ARRAY(table.c[name].type)) for name in names]
    return select(func.unnest(*arrays).table_valued(*names).render_derived(name="given"))


_AMONG = select(tables.standings).where(
    tables.standings.c.account == any_(bindparam("accounts", type_=ARRAY(tables.standings.c.account.type)))
)
_NEW = insert(tables.standings).from_select(STANDING_COLUMNS, _rows_of(tables.standings, STANDING_COLUMNS))
_PUT = _NEW.on_conflict_do_update(
    index_elements=["account"], set_={name: _NEW.excluded[name] for name in STANDING_COLUMNS[1:]}
)
_ADD = (
    insert(tables.prints)
    .from_select(PRINT_COLUMNS, _rows_of(tables.prints, PRINT_COLUMNS))
    .returning(tables.prints.c.id)
)
_LOCK = text("SELECT pg_advisory_xact_lock(:what, name) FROM unnest(CAST(:names AS integer[])) AS name")

_UNREACHABLE = "start the server, and look at guard.identify.keys; the password comes from PGPASSWORD or a passfile"
_MEANINGS = {
    "57014": (f"a statement took longer than {_STATEMENT:.0f} s", "look what the server is busy with"),
    "55P03": ("another replica has held the accounts for too long", "look whether one of the replicas hangs"),
    "53100": ("the server's disk is full", "free some space there; the store goes on by itself"),
    "53300": ("the server has no connection left", "raise its max_connections, or run fewer replicas"),
    "25006": (
        "the server does not take writes",
        "name the primary, not a standby: add ?target_session_attrs=read-write",
    ),
    "42501": ("the database user may not do this", "give the user the schema: GRANT USAGE, CREATE ON SCHEMA …"),
}


class _Silent(psycopg.OperationalError):
    """The server took a statement and said nothing more."""


class _Impatient(psycopg.Connection[Any]):
    """A connection that does not wait for ever for a server that is frozen, or behind a broken wire.

    The server's own timeouts do not help then, and neither do those of TCP if only the process is stopped.

    Attributes:
        patience: seconds that one statement may take.
    """

    patience = _ANSWER

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **settings: Any) -> T:
        try:
            return super().wait(_until(gen, monotonic() + self.patience), *args, **settings)
        except _Silent:
            self.close()
            raise


def _until(gen: Generator[Any, Any, T], deadline: float) -> Generator[Any, Any, T]:
    """Pass on what `gen` waits for; psycopg comes back every 0.1 s when there is nothing."""
    try:
        ready = yield next(gen)
        while True:
            if not ready and monotonic() > deadline:
                raise _Silent("the server does not answer any more")
            ready = yield gen.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result


class PostgresqlStore(SqlStore):
    """Keys, standings, fingerprints, versions and events in a PostgreSQL database that replicas share.

    Replicas wait for each other with advisory locks, taken in one order and given back with the transaction: unlike row
    locks they hold newcomers too, who have no row yet, and cost no write when nothing changes.  What must survive a
    power cut of the server is committed synchronously; standings and fingerprints are not (other replicas see them at
    once all the same).  Every wait is bounded: 3 s to connect, 4 s for a statement, 5 s for a server that went silent.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        """Prefer `open`, which makes the tables."""
        self.name = f"postgresql://{params.get('host', '')}/{params.get('dbname', '')}"
        options = " ".join([params.get("options", ""), *(f"-c {name}={value}" for name, value in _SETTINGS.items())])
        settings = {"application_name": "redoubt", **_KEEPALIVE, **params}
        settings |= {"connect_timeout": _CONNECT, "options": options.strip()}
        engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: _Impatient.connect(**settings),
            pool_size=8,
            max_overflow=24,
            pool_timeout=_ANSWER,
            use_native_hstore=False,  # saves a query when connecting
            hide_parameters=True,
        )
        super().__init__(engine, readers=engine.execution_options(isolation_level="AUTOCOMMIT"))

    @classmethod
    def open(cls, url: str) -> Self:
        """Connect, and bring the tables up to date.

        Raises:
            PolicyError: the URL is none, or holds a password.
            StorageError: the server cannot be reached, or the tables are newer than this program.
        """
        try:
            params = conninfo_to_dict(url)
        except psycopg.ProgrammingError:  # whose message may quote a password
            raise PolicyError(
                "guard.identify.keys is no URL that PostgreSQL understands",
                remedy="write postgresql://user@host/database, and percent-encode what is special",
            ) from None
        if any(params.get(name) for name in _SECRETS):
            raise PolicyError(
                "guard.identify.keys holds a password, and a policy is read by many",
                remedy="take it out, change it, and give the new one in PGPASSWORD or a passfile",
            )
        store = cls({name: value for name, value in params.items() if value})
        try:
            store._prepare()
        except StorageError as error:
            store.close()
            raise StorageError(error.what, Place(store.name), remedy=error.remedy) from error
        return store

    def _begin(self, connection: Connection, *, sure: bool) -> None:
        if sure:
            connection.exec_driver_sql("SET LOCAL synchronous_commit = on")

    def _migrate(self, connection: Connection) -> None:
        for name in ("statement_timeout", "lock_timeout"):
            connection.exec_driver_sql(f"SET LOCAL {name} = '{_MIGRATION:.0f}s'")
        raw: Any = connection.connection.dbapi_connection
        raw.patience = _MIGRATION
        try:
            super()._migrate(connection)
        finally:
            del raw.patience  # back to what the class says

    def _wait_for(self, connection: Connection, what: Guarded, names: Sequence[str] = ()) -> None:
        # Half of a lock is 32 bits: accounts whose checksums are the same wait for each other, which is harmless.
        halves = {zlib.crc32(name.encode()) - 2**31 for name in names} or {0}
        connection.execute(_LOCK, {"what": _LOCKS + what, "names": sorted(halves)})

    def _standings(self, connection: Connection, accounts: Sequence[str]) -> dict[str, Standing]:
        return as_standings(connection.execute(_AMONG, {"accounts": list(accounts)}).all())

    def _put_standings(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        connection.execute(_PUT, {name: [row[name] for row in rows] for name in STANDING_COLUMNS})

    def _put_prints(self, connection: Connection, prints: Sequence[Print]) -> list[int]:
        columns = zip(*map(as_row, prints), strict=True)
        given = {name: list(values) for name, values in zip(PRINT_COLUMNS, columns, strict=True)}
        return sorted(connection.execute(_ADD, given).scalars())

    def _storage_error(self, error: SQLAlchemyError) -> StorageError:
        original = error.orig if isinstance(error, DBAPIError) else None
        state = getattr(original, "sqlstate", None)
        primary = original.diag.message_primary if isinstance(original, psycopg.Error) else None
        said = primary or (str(original or error).strip().splitlines() or ["no reason given"])[-1].strip()
        what, remedy = _MEANINGS.get(
            state or "",
            (f"the store does not work: {said}", "look into the server's log")
            if state and not state.startswith(("08", "57P", "28", "3D"))
            else (f"the store cannot be reached: {said}", _UNREACHABLE),
        )
        return StorageError(what, Place(self.name), remedy=remedy)

    def _may_retry(self, error: DBAPIError, *, committing: bool) -> bool:
        if isinstance(error.orig, _Silent):
            return False
        collided = getattr(error.orig, "sqlstate", None) in _COLLISIONS
        return collided or (error.connection_invalidated and not committing)
