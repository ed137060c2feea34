"""Logs in a temporary folder, with SQLite and with PostgreSQL."""

import tempfile
from pathlib import Path

import pytest

from features.bar_log import BarLog, Limits
from testkit.postgresql import PostgresqlServer

SMALL = Limits(recent_rows=20, kept_rows=5, direct_rows=30)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def log(folder):
    with BarLog(folder, limits=SMALL) as log:
        yield log


@pytest.fixture(scope="session")
def postgresql():
    """The server that the tests of a process share; each test gets a schema of its own."""
    # Outside pytest's folder, which other users cannot enter: root runs the server as another user.
    with tempfile.TemporaryDirectory(prefix="tradeserve-postgresql-") as folder:
        server = PostgresqlServer(Path(folder))
        server.disable_fsync()
        yield server
        server.kill()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def log_of_any_database(request, folder):
    """A log with each kind of database."""
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").create_schema()
    with BarLog(folder, url, SMALL) as log:
        yield log
