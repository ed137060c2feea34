"""What goes wrong with a database is said with its remedy, and never with its password."""

import pickle
import sqlite3
import sys

import pytest
from sqlalchemy import insert, text

from serve_app.experiments import store_errors as errors
from serve_app.experiments.store import ExperimentStore
from serve_app.experiments.store.engine import Database
from serve_app.experiments.store.schema import OUTCOMES
from tests.serve_app.experiments.store.builders import START, definition, outcome, prediction

EXAMPLES = [
    errors.InvalidUrlError("mysql://x", "mysql is not supported"),
    errors.NewerSchemaError("sqlite:///x", "0009", ["0001", "0002"]),
    errors.DamagedStoreError("sqlite:///x", "file is not a database"),
    errors.LockedStoreError("sqlite:///x", "database is locked"),
    errors.FullStoreError("sqlite:///x", "database or disk is full"),
    errors.ReadOnlyStoreError("sqlite:///x", "attempt to write a readonly database"),
    errors.RefusedRowError("sqlite:///x", "too long"),
    errors.UnknownExperimentError("e9", ["e1"]),
    errors.ExperimentExistsError("e1", "running"),
    errors.ModelInExperimentError("m", "e1"),
    errors.BufferFullError("predictions", 10, 9, 2),
    errors.LogClosedError(),
    errors.ExportError("x.parquet", "no space"),
    errors.MissingPackageError("exporting", "pyarrow", "export"),
]


def leaves(tree):
    below = tree.__subclasses__()
    return [leaf for each in below for leaf in leaves(each)] if below else [tree]


def test_every_leaf_has_an_example_here():
    assert set(leaves(errors.StoreError)) == {type(example) for example in EXAMPLES}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_survive_pickling(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("nonsense", "it is no URL"),
        ("mysql://user:secret@host/db", "mysql is not supported"),
        ("sqlite://", "a database in memory keeps nothing"),
        ("sqlite:///:memory:", "a database in memory keeps nothing"),
        ("sqlite:////no/such/folder/x.db", "there is no folder /no/such/folder"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_what_was_expected(url, problem):
    with pytest.raises(errors.InvalidUrlError, match=r"use sqlite:///.* or postgresql://") as e:
        ExperimentStore(url)
    assert problem in str(e.value)
    assert "secret" not in str(e.value)


def test_a_url_that_is_none_is_not_shown_since_it_may_hold_a_password():
    with pytest.raises(errors.InvalidUrlError) as e:
        ExperimentStore("postgresql:user:secret@host")
    assert "secret" not in str(e.value)


def test_a_server_that_does_not_run_is_named_without_its_password(free_port):
    url = f"postgresql://user:secret@127.0.0.1:{free_port}/db"
    with pytest.raises(errors.UnavailableStoreError, match="check that it is running") as e:
        ExperimentStore(url)
    assert f"127.0.0.1:{free_port}" in str(e.value)
    assert "secret" not in f"{e.value} {e.value.args}"


def test_a_database_that_does_not_exist_is_named(postgresql):
    url = postgresql.create_database().replace("/test_", "/nowhere_")
    with pytest.raises(
        errors.UnavailableStoreError, match=r'database "nowhere_\d+" does not exist'
    ):
        ExperimentStore(url)


def test_without_psycopg_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(errors.MissingPackageError, match=r"install tradeserve\[postgres\]"):
        ExperimentStore("postgresql://user:secret@host/db")


def test_sqlite_commits_reach_the_disk_and_readers_block_no_writer(sqlite_url):
    database = Database(sqlite_url)
    with database.reading() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2
    database.close()


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "x.db").write_bytes(b"not a database" * 100)
    with pytest.raises(errors.DamagedStoreError, match=r"file is not a database; restore it"):
        ExperimentStore(f"sqlite:///{tmp_path}/x.db")


def test_a_database_that_may_only_be_read_is_named(sqlite_url, tmp_path):
    with ExperimentStore(sqlite_url) as store:
        store.create_experiment(definition(), START)
    with ExperimentStore(f"sqlite:///file:{tmp_path}/experiments.db?mode=ro&uri=true") as store:
        assert len(store.experiments()) == 1
        with pytest.raises(errors.ReadOnlyStoreError, match="grant this process write access"):
            store.write_predictions([prediction("a")])


def test_a_full_disk_is_named_and_leaves_everything_as_it_was(sqlite_url):
    with ExperimentStore(sqlite_url) as store:
        store.create_experiment(definition(), START)
        store.write_predictions([prediction("before")])
        with store._database.reading() as connection:
            pages = connection.scalar(text("PRAGMA page_count"))
            connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        with pytest.raises(errors.FullStoreError, match="free disk space"):
            store.write_predictions([prediction(f"p{number}") for number in range(5000)])
        (block,) = store.blocks("e1")
        assert block.control.predictions == len(list(store.predictions())) == 1


def test_a_writer_that_holds_the_lock_for_too_long_is_named(url):
    with ExperimentStore(url, lock_timeout_s=0.5) as store, ExperimentStore(url) as other:
        store.create_experiment(definition(), START)
        with (
            other._database.writing(),
            pytest.raises(errors.LockedStoreError, match="end the other process"),
        ):
            store.write_predictions([prediction("a")])
        assert store.write_predictions([prediction("a")]).written == 1


def test_readers_go_on_while_somebody_writes(url):
    with ExperimentStore(url) as store, ExperimentStore(url) as other:
        store.create_experiment(definition(), START)
        with other._database.writing() as connection:
            row = {"prediction_id": "a", "market_return": 0.0, "received_s": 0.0}
            connection.execute(insert(OUTCOMES), [row])
            assert store.blocks("e1") == []


def test_what_a_failed_transaction_wrote_is_gone(url):
    with ExperimentStore(url) as store:
        store.create_experiment(definition(), START)
        store.write_predictions([prediction("a")])
        row = {"prediction_id": "a", "market_return": 0.0, "received_s": 0.0}
        with pytest.raises(ZeroDivisionError):
            write_and_fail(store._database, insert(OUTCOMES).values(row))
        (recorded,) = store.record_outcomes([outcome("a")])
        assert recorded.result.value == "accepted"


def test_changes_of_the_schema_are_part_of_a_transaction(database):
    """What lets a migration that is killed leave nothing behind."""
    create = text("CREATE TABLE half_done (x INTEGER)")
    with pytest.raises(ZeroDivisionError):
        write_and_fail(database, create)
    with database.writing() as connection:
        connection.execute(create)


def write_and_fail(database, statement):
    with database.writing() as connection:
        connection.execute(statement)
        raise ZeroDivisionError


def test_the_threads_of_sqlite_are_serialised():
    assert sqlite3.threadsafety == 3
