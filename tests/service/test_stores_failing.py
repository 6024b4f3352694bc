"""Stores whose disk or server fails: a clear error in seconds, nothing half-done, nothing acknowledged lost."""

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

from postgres_server import postgres  # noqa: F401  a fixture
from redoubt.records import PolicyError, Standing, StorageError
from redoubt.service.stores import open_store, postgresql
from redoubt.service.stores.conformance import a_key, a_print
from redoubt.service.stores.postgresql import PostgresqlStore
from redoubt.service.stores.sqlite import SqliteStore


def one_more(before):
    return {name: standing.model_copy(update={"today": standing.today + 1}) for name, standing in before.items()}


@pytest.fixture
def sqlite(tmp_path):
    store = open_store("keys.db", tmp_path)
    yield store
    store.close()


@pytest.fixture
def shared(postgres):  # noqa: F811
    """A URL, and a store on it."""
    url = postgres.empty()
    store = open_store(url, Path())
    yield store, url
    store.close()


# ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_file_is_its_owner_s_alone(sqlite, tmp_path):
    sqlite.add_key(a_key(), "root")
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "keys.db": 0o600,
        "keys.db-wal": 0o600,
        "keys.db-shm": 0o600,
    }


def test_an_absolute_file_is_taken_as_it_is(tmp_path):
    (tmp_path / "a").mkdir()
    open_store(str(tmp_path / "k.db"), tmp_path / "a").close()
    assert (tmp_path / "k.db").is_file()


@pytest.mark.parametrize(
    "text", ["", "mysql://root@db/keys", "sqlite:///keys.db", "http://x", "://", "postgresql+psycopg://x/y", "a\0b"]
)
def test_other_kinds_of_stores_are_refused(text, tmp_path):
    with pytest.raises(PolicyError, match="no store that Redoubt knows"):
        open_store(text, tmp_path)
    assert list(tmp_path.iterdir()) == []


def a_folder(path):
    path.mkdir()


def a_foreign_database(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE redoubt_keys (id TEXT)")
    connection.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(random.Random(0).randbytes(8192)), "no SQLite database"),
        (lambda path: path.write_text("guard:\n  identify: {keys: keys.db}\n" * 99), "no SQLite database"),
        (a_foreign_database, "another program's database"),
        (a_folder, "cannot be opened"),
    ],
)
def test_what_is_no_store_is_refused_and_left_alone(make, message, tmp_path):
    path = tmp_path / "keys.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StorageError, match=message) as caught:
        open_store("keys.db", tmp_path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_store_in_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(StorageError, match="cannot make the store"):
        open_store("none/keys.db", tmp_path)


def test_a_damaged_store_says_so(tmp_path):
    with_key = open_store("keys.db", tmp_path)
    for number in range(50):
        with_key.add_key(a_key(f"k{number}", note="x" * 900), "root")
    with_key.close()
    path = tmp_path / "keys.db"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(StorageError, match=r"damaged|fails"):
        open_store("keys.db", tmp_path).keys()


# ── SQLite: kills, full disks, locks ─────────────────────────────────────────────────────────────────────────────

WRITER = """
import sys
import time
from pathlib import Path
from redoubt.service.stores import open_store
from redoubt.service.stores.conformance import a_key, a_print
from redoubt.records import Standing
store = open_store("keys.db", Path(sys.argv[1]))
for number in range(100_000):
    store.add_key(a_key(f"{sys.argv[2]}-{number}"), "root")
    store.turn(["all"], lambda before: {"all": Standing(today=before["all"].today + 1)})
    store.add_prints([a_print(number, sys.argv[2])])
    print(number, flush=True)
    time.sleep(0.002)  # SQLite's lock is not handed out in turn: who writes without a pause may shut the other out
"""


def test_nothing_acknowledged_is_lost_when_writers_are_killed(tmp_path):
    """Twice two writers, killed with SIGKILL in the middle of their work."""
    acknowledged = {}
    for at in range(2):
        names = [f"w{at}{side}" for side in "ab"]
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, name], stdout=subprocess.PIPE, text=True)
            for name in names
        ]
        for writer in writers:
            writer.stdout.readline()
        time.sleep(0.15 + 0.1 * at)
        for writer in writers:
            writer.kill()
        for name, writer in zip(names, writers, strict=True):
            acknowledged[name] = 1 + writer.stdout.read().count("\n")
            assert writer.wait() == -signal.SIGKILL
            writer.stdout.close()
    store = open_store("keys.db", tmp_path)
    keys = store.keys()
    kept = {key.id for key in keys}
    prints = {(row.account, int.from_bytes(row.digest)) for row in store.prints_after(0, 100_000)}
    count = store.standings()["all"].today
    events = []
    while store.take_events(100, events.extend):
        pass
    store.close()
    expected = {(name, number) for name, numbers in acknowledged.items() for number in range(numbers)}
    assert len(expected) > 20
    assert {f"{name}-{number}" for name, number in expected} <= kept
    assert expected <= prints
    assert len(expected) <= count <= len(expected) + len(acknowledged)
    assert {event.detail["key"] for event in events} == kept


def test_a_full_disk_is_said_and_passes(tmp_path, monkeypatch):
    connect = SqliteStore._connect
    pages = [60]

    def small(self):
        connection = connect(self)
        connection.execute(f"PRAGMA max_page_count = {pages[0]}")
        return connection

    monkeypatch.setattr(SqliteStore, "_connect", small)
    store = open_store("keys.db", tmp_path)
    batches = []

    def fill():
        for _ in range(100):
            batches.append(store.add_prints([a_print(number) for number in range(40)]))

    with pytest.raises(StorageError, match="the disk is full"):
        fill()
    assert batches
    with pytest.raises(StorageError, match="the disk is full"):
        store.add_version("sha256:1", "x" * 2**20, 1.0, "root")
    assert [row.id for row in store.prints_after(0, 10_000)] == [number for ids in batches for number in ids]
    assert store.versions() == []
    store.close()
    pages[0] = 10_000
    store = open_store("keys.db", tmp_path)
    store.add_version("sha256:1", "x" * 2**20, 1.0, "root")
    assert len(store.add_prints([a_print(1)])) == 1
    store.check()
    store.close()


FILLER = """
import resource, sys
from pathlib import Path
from redoubt.records import StorageError
from redoubt.service.stores import open_store
from redoubt.service.stores.conformance import a_key
store = open_store("keys.db", Path(sys.argv[1]))
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))  # from here on writes beyond it fail, as on a bad disk
kept = 0
try:
    while kept < 10_000:
        store.add_key(a_key(f"k{kept}", note="x" * 900), "root")
        kept += 1
except StorageError as error:
    print(error.what)
for call in (store.check, lambda: store.add_key(a_key("late"), "root")):
    try:
        call()
    except StorageError:
        print("refused")
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
store.check()
store.add_key(a_key("after"), "root")
print(kept, len(store.keys()), store.take_events(100_000, lambda events: None))
"""


def test_a_write_that_fails_half_way_leaves_nothing(tmp_path):
    """The kernel refuses writes beyond 400 kB; when it takes them again, the same store goes on."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run([sys.executable, "-c", FILLER, tmp_path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said, *refused, counts = done.stdout.splitlines()
    assert said in ("the disk is full", "the disk does not read or write")
    assert "refused" in refused
    kept, keys, events = map(int, counts.split())
    assert kept > 10
    assert keys == events
    assert kept + 1 <= keys <= kept + 2  # "late" may have found room


def test_a_store_held_by_another_process_is_waited_for_and_then_given_up(sqlite, tmp_path, monkeypatch):
    holder = sqlite3.connect(tmp_path / "keys.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with sqlite._engine.connect() as connection:  # the pool's only connection
        connection.exec_driver_sql("PRAGMA busy_timeout = 200")
    assert sqlite.keys() == []  # readers do not wait
    with pytest.raises(StorageError, match="another process has held the store"):
        sqlite.check()
    holder.execute("COMMIT")
    holder.close()
    sqlite.check()


def test_an_unchanged_turn_writes_nothing_to_sqlite(sqlite, tmp_path):
    sqlite.turn(["a", "b"], one_more)
    watcher = sqlite3.connect(tmp_path / "keys.db")
    version = watcher.execute("PRAGMA data_version").fetchone()
    wal = (tmp_path / "keys.db-wal").stat().st_size
    sqlite.turn(["a", "b", "c"], dict)
    assert watcher.execute("PRAGMA data_version").fetchone() == version
    assert (tmp_path / "keys.db-wal").stat().st_size == wal
    sqlite.turn(["a"], one_more)
    assert watcher.execute("PRAGMA data_version").fetchone() != version
    watcher.close()


def test_a_standing_that_somebody_edited_is_refused(sqlite, tmp_path):
    sqlite.turn(["a"], one_more)
    with sqlite3.connect(tmp_path / "keys.db") as editor:
        editor.execute("UPDATE redoubt_standings SET strikes = -1")
    editor.close()
    with pytest.raises(StorageError, match="a standing that cannot be"):
        sqlite.turn(["a"], one_more)


# ── PostgreSQL: servers that are gone, silent, restarted; passwords ──────────────────────────────────────────────


def test_a_stopped_server_is_said_quickly_and_a_started_one_is_found_again(postgres, shared):  # noqa: F811
    store, url = shared
    store.turn(["a"], one_more)
    postgres.stop()
    try:
        for call in (store.check, store.keys, lambda: store.turn(["a"], one_more), lambda: open_store(url, Path())):
            began = time.monotonic()
            with pytest.raises(StorageError, match="cannot be reached") as caught:
                call()
            assert time.monotonic() - began < 5
            assert "start the server" in caught.value.remedy
    finally:
        postgres.start()
    assert store.turn(["a"], one_more) == {"a": Standing(today=2)}
    store.check()


def test_connections_that_died_meanwhile_cost_the_caller_nothing(postgres, shared):  # noqa: F811
    store, _ = shared
    store.add_prints([a_print(1)])
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'redoubt'"
    for call in (store.check, store.keys, lambda: store.add_prints([a_print(2)])):
        assert postgres.run(kill)
        call()
    assert len(store.prints_after(0, 10)) == 2


def test_a_connection_that_dies_before_the_commit_is_tried_again_and_counts_once(postgres, shared):  # noqa: F811
    store, _ = shared
    killed = []

    def change(before):
        if not killed:
            killed.extend(
                postgres.run(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'redoubt' AND state = 'idle in transaction'"
                )
            )
        return one_more(before)

    assert store.turn(["a"], change) == {"a": Standing(today=1)}
    assert killed
    assert store.standings() == {"a": Standing(today=1)}


def test_a_commit_whose_answer_is_lost_is_not_tried_again(postgres, shared, monkeypatch):  # noqa: F811
    """It may have happened; to do it twice would charge twice."""
    store, _ = shared
    calls = []
    commit = postgresql._Impatient.commit

    def lost(self):
        commit(self)
        self.close()
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(postgresql._Impatient, "commit", lost)
    with pytest.raises(StorageError, match="the connection is lost"):
        store.turn(["a"], lambda before: calls.append(1) or one_more(before))
    monkeypatch.undo()
    assert len(calls) == 1
    assert store.standings() == {"a": Standing(today=1)}


def test_a_silent_server_is_given_up(postgres, shared, monkeypatch):  # noqa: F811
    """The process that serves us is stopped (SIGSTOP): the connection stands, and nothing comes."""
    store, _ = shared
    monkeypatch.setattr(postgresql._Impatient, "patience", 1.0)
    [(pid,)] = store._read(lambda connection: connection.exec_driver_sql("SELECT pg_backend_pid()").all())
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(StorageError, match="does not answer any more"):
            store.check()
        assert 0.9 < time.monotonic() - began < 3
        store.check()  # over a new connection
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_replica_that_hangs_holds_the_others_for_seconds_only(postgres, shared, monkeypatch):  # noqa: F811
    monkeypatch.setitem(postgresql._SETTINGS, "lock_timeout", 300)
    monkeypatch.setitem(postgresql._SETTINGS, "idle_in_transaction_session_timeout", 1500)
    _, url = shared
    other = open_store(url, Path())
    hangs, go_on = threading.Event(), threading.Event()

    def hang(before):
        hangs.set()
        go_on.wait(20)
        return one_more(before)

    failed = []

    def hanging():
        try:
            slow.turn(["a"], hang)
        except StorageError as error:
            failed.append(error)

    slow = open_store(url, Path())
    thread = threading.Thread(target=hanging)
    thread.start()
    try:
        assert hangs.wait(10)
        with pytest.raises(StorageError, match="another replica has held the accounts"):
            other.turn(["b", "a"], one_more)
        assert other.turn(["b"], one_more) == {"b": Standing(today=1)}
        time.sleep(1.6)
        assert other.turn(["a"], one_more) == {"a": Standing(today=1)}
    finally:
        go_on.set()
        thread.join()
    assert not failed  # it had changed nothing yet, so it was tried again
    assert other.turn(["a"], dict) == {"a": Standing(today=2)}
    other.close()
    slow.close()


def test_an_unchanged_turn_writes_nothing_to_postgresql(postgres, shared):  # noqa: F811
    store, url = shared
    store.turn(["a"], one_more)
    rows = "SELECT xmin, xmax FROM redoubt_standings"
    before = postgres.run(rows, url)
    store.turn(["a", "b"], dict)
    assert postgres.run(rows, url) == before
    store.turn(["a"], one_more)
    assert postgres.run(rows, url) != before


def test_a_database_that_takes_no_writes(postgres, shared):  # noqa: F811
    _, url = shared
    store = open_store(f"{url}%20-cdefault_transaction_read_only%3Don", Path())
    assert store.keys() == []
    with pytest.raises(StorageError, match="does not take writes"):
        store.check()
    store.close()


def test_durable_where_it_must_be(shared):
    """What a power cut of the server may take, and what not."""
    store, _ = shared
    shown = {}
    for sure in (True, False):
        shown[sure] = store._change(
            lambda connection: connection.exec_driver_sql("SHOW synchronous_commit").scalar(), sure=sure
        )
    assert shown == {True: "on", False: "off"}


def test_durable_where_it_must_be_in_sqlite(sqlite):
    shown = {}
    for sure in (True, False):
        shown[sure] = sqlite._change(
            lambda connection: connection.exec_driver_sql("PRAGMA synchronous").scalar(), sure=sure
        )
    assert shown == {True: 2, False: 1}
    assert sqlite._read(lambda connection: connection.exec_driver_sql("PRAGMA journal_mode").scalar()) == "wal"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hunter2@localhost/db",
        "postgresql://user@localhost/db?password=hunter2",
        "postgresql://user@localhost/db?sslpassword=hunter2",
        "postgresql://user:hunter2@localhost:port/db",
        "postgresql://user:hunter2@localhost/db?nonsense=1",
        "postgres://user:hunter2@[::1/db",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(url):
    with pytest.raises(PolicyError) as caught:
        open_store(url, Path())
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None or "hunter2" not in str(caught.value.__cause__)


@pytest.fixture
def walled(postgres):  # noqa: F811
    """The URL of a user who needs a password, and may make tables."""
    rules = postgres.pgdata / "pg_hba.conf"
    before = rules.read_text()
    postgres.run("CREATE ROLE walled LOGIN PASSWORD 'hunter2'")
    postgres.run("CREATE SCHEMA walled AUTHORIZATION walled")
    rules.write_text("local all walled scram-sha-256\n" + before)
    postgres.run("SELECT pg_reload_conf()")
    yield f"{postgres.url(user='walled')}&options=-csearch_path%3Dwalled"
    rules.write_text(before)
    postgres.run("SELECT pg_reload_conf()")
    postgres.run("DROP SCHEMA walled CASCADE")
    postgres.run("DROP ROLE walled")


def test_the_password_comes_from_the_environment_or_a_passfile(walled, tmp_path, monkeypatch):
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "passfile"))
    with pytest.raises(StorageError, match="password") as caught:
        open_store(walled, tmp_path)
    assert "PGPASSWORD" in caught.value.remedy
    monkeypatch.setenv("PGPASSWORD", "wrong")
    with pytest.raises(StorageError, match="password authentication failed"):
        open_store(walled, tmp_path)
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    open_store(walled, tmp_path).close()
    monkeypatch.delenv("PGPASSWORD")
    (tmp_path / "passfile").write_text("*:*:*:walled:hunter2\n")
    (tmp_path / "passfile").chmod(0o600)
    store = open_store(walled, tmp_path)
    store.check()
    assert "hunter2" not in f"{store.__dict__} {store._engine!r} {store._engine.url!r}"
    store.close()


def test_a_user_who_may_not_make_tables_is_told_so(walled, postgres, monkeypatch):  # noqa: F811
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    postgres.run("REVOKE CREATE ON SCHEMA public FROM walled, PUBLIC")
    with pytest.raises(StorageError, match="may not do this"):
        PostgresqlStore.open(postgres.url(user="walled") + "&options=-csearch_path%3Dpublic")
