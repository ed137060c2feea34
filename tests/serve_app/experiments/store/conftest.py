"""Both databases: a file of SQLite's, and a database of a PostgreSQL server."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from serve_app.experiments.store.engine import Database
from tests.serve_app.experiments.store.postgresql import PostgresqlServer


@pytest.fixture(scope="session")
def postgresql():
    with _server() as server:
        yield server


@pytest.fixture
def mortal_postgresql():
    """A server of the test's own, to be killed."""
    with _server() as server:
        yield server


@contextmanager
def _server():
    # Not below pytest's folder, which no other user may enter: as root the server is another user.
    with tempfile.TemporaryDirectory(prefix="tradeserve-postgresql-") as folder:
        server = PostgresqlServer(Path(folder))
        yield server
        server.stop()


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path}/experiments.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """A new, empty database."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_url")
    return request.getfixturevalue("postgresql").create_database()


@pytest.fixture
def database(url):
    database = Database(url)
    yield database
    database.close()
