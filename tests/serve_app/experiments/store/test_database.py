"""Errors of a database name their remedy and never show a password; transactions are isolated."""

import sqlite3
import sys
from contextlib import closing

import pytest
from sqlalchemy import Engine, event, insert, text

from serve_app.experiments import store_errors as errors
from serve_app.experiments.store import ExperimentStore
from serve_app.experiments.store.database import open_database
from serve_app.experiments.store.schema import OUTCOMES
from tests.serve_app.experiments.store.builders import START, definition, outcome, prediction


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("nonsense", "it is not a URL"),
        ("mysql://user:secret@host/db", "mysql is not supported"),
        ("sqlite://", "an in-memory database does not persist anything"),
        ("sqlite:///:memory:", "an in-memory database does not persist anything"),
        ("sqlite:////no/such/folder/x.db", "the folder /no/such/folder does not exist"),
    ],
)
def test_unusable_url(url, problem):
    """An unusable URL is rejected with the problem and the expected forms, without its password."""
    with pytest.raises(errors.InvalidUrlError, match=r"use sqlite:///.* or postgresql://") as e:
        ExperimentStore(url)
    assert problem in str(e.value)
    assert "secret" not in str(e.value)


def test_private_file(tmp_path):
    """Only its user can read a new database and its journal; an existing one keeps its mode."""
    path = tmp_path / "x.db"
    for mode in (0o600, 0o640):
        with closing(ExperimentStore(f"sqlite:///{path}")):
            files = list(tmp_path.iterdir())
            assert {file.stat().st_mode & 0o777 for file in files} == {mode}
            assert len(files) > 1
        path.chmod(0o640)


def test_password_in_malformed_url():
    """A malformed URL may contain a password, so that it is not shown."""
    with pytest.raises(errors.InvalidUrlError) as e:
        ExperimentStore("postgresql:user:secret@host")
    assert "secret" not in str(e.value)


def test_server_not_running(free_port):
    """The error names the server that is not running, without the password."""
    url = f"postgresql://user:secret@127.0.0.1:{free_port}/db"
    with pytest.raises(errors.UnavailableStoreError, match="check that it is running") as e:
        ExperimentStore(url)
    assert f"127.0.0.1:{free_port}" in str(e.value)
    assert "secret" not in f"{e.value} {e.value.args}"


def test_database_does_not_exist(postgresql):
    """The error names the database that does not exist."""
    url = postgresql.create_schema().replace("/postgres?", "/nowhere?")
    with pytest.raises(errors.UnavailableStoreError, match='database "nowhere" does not exist'):
        ExperimentStore(url)


def test_without_psycopg(monkeypatch):
    """Without psycopg the error names the extra to install."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(errors.MissingPackageError, match=r"install tradeserve\[postgres\]"):
        ExperimentStore("postgresql://user:secret@host/db")


def test_sqlite_mode(sqlite_url):
    """SQLite runs in WAL mode and flushes every commit to the disk."""
    database = open_database(sqlite_url)
    with database.reading() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2
    database.close()


def test_not_a_database(tmp_path):
    """A file that is not a database is rejected."""
    (tmp_path / "x.db").write_bytes(b"not a database" * 100)
    with pytest.raises(errors.DamagedStoreError, match=r"file is not a database; restore it"):
        ExperimentStore(f"sqlite:///{tmp_path}/x.db")


def test_read_only_database(sqlite_url, tmp_path):
    """A read-only database can be read; a write fails with the remedy."""
    with ExperimentStore(sqlite_url) as store:
        store.create_experiment(definition(), START)
    with ExperimentStore(f"sqlite:///file:{tmp_path}/experiments.db?mode=ro&uri=true") as store:
        assert len(store.experiments()) == 1
        with pytest.raises(errors.ReadOnlyStoreError, match="grant this process write access"):
            store.write_predictions([prediction("a")])


def test_full_disk(sqlite_url, request):
    """A write to a full disk fails with the remedy and changes nothing."""
    with ExperimentStore(sqlite_url) as store:
        store.create_experiment(definition(), START)
        store.write_predictions([prediction("before")])

    def limit_pages(connection, _):
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(Engine, "connect", limit_pages)
    request.addfinalizer(lambda: event.remove(Engine, "connect", limit_pages))
    with ExperimentStore(sqlite_url) as store:
        with pytest.raises(errors.FullStoreError, match="free disk space"):
            store.write_predictions([prediction(f"p{number}") for number in range(5000)])
        (block,) = store.blocks("e1")
        assert block.control.predictions == len(list(store.predictions())) == 1


def test_lock_timeout(url, database):
    """A write fails when another process holds the lock for too long, and can be repeated."""
    with ExperimentStore(url, lock_timeout_s=0.5) as store:
        store.create_experiment(definition(), START)
        with (
            database.writing(),
            pytest.raises(errors.LockedStoreError, match="end the other process"),
        ):
            store.write_predictions([prediction("a")])
        assert store.write_predictions([prediction("a")]).written == 1


def test_reading_during_writing(url, database):
    """A reader is not blocked by an open writing transaction."""
    with ExperimentStore(url) as store:
        store.create_experiment(definition(), START)
        with database.writing() as connection:
            row = {"prediction_id": "a", "market_return": 0.0, "received_s": 0.0}
            connection.execute(insert(OUTCOMES), [row])
            assert store.blocks("e1") == []


def test_rolled_back(url, database):
    """A failed transaction leaves nothing behind."""
    with ExperimentStore(url) as store:
        store.create_experiment(definition(), START)
        store.write_predictions([prediction("a")])
        row = {"prediction_id": "a", "market_return": 0.0, "received_s": 0.0}
        with pytest.raises(ZeroDivisionError):
            write_and_fail(database, insert(OUTCOMES).values(row))
        (recorded,) = store.record_outcomes([outcome("a")])
        assert recorded.result.value == "accepted"


def test_transactional_schema(database):
    """A schema change is rolled back with its transaction: a killed migration leaves nothing."""
    create = text("CREATE TABLE half_done (x INTEGER)")
    with pytest.raises(ZeroDivisionError):
        write_and_fail(database, create)
    with database.writing() as connection:
        connection.execute(create)


def write_and_fail(database, statement):
    with database.writing() as connection:
        connection.execute(statement)
        raise ZeroDivisionError


def test_sqlite_threads():
    """SQLite is built in its serialised mode, so that threads can share it."""
    assert sqlite3.threadsafety == 3
