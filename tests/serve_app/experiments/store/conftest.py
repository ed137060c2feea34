"""Both kinds of database: a SQLite file, and a schema of a PostgreSQL server."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from serve_app.experiments.store.database import open_database
from testkit.postgresql import PostgresqlServer


@pytest.fixture(scope="session")
def postgresql():
    """The server that all tests of a process share; each test gets a schema of its own."""
    with _server() as server:
        server.disable_fsync()
        yield server


@pytest.fixture
def mortal_postgresql():
    """A server for one test, which kills it."""
    with _server() as server:
        yield server


@contextmanager
def _server():
    # Outside pytest's folder, which other users cannot enter: root runs the server as another user.
    with tempfile.TemporaryDirectory(prefix="tradeserve-postgresql-") as folder:
        server = PostgresqlServer(Path(folder))
        yield server
        # A regular stop would first flush files that are deleted anyway.
        server.kill()


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path}/experiments.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """A new, empty database."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_url")
    return request.getfixturevalue("postgresql").create_schema()


@pytest.fixture
def database(url):
    database = open_database(url)
    yield database
    database.close()
