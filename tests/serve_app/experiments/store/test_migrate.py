"""A database of any age is brought to this software's schema when it is opened."""

import multiprocessing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from serve_app.experiments.store.engine import Database
from serve_app.experiments.store.errors import NewerSchemaError
from serve_app.experiments.store.migrate import VERSION_TABLE, migrate
from serve_app.experiments.store.schema import METADATA


def open_and_migrate(url, barrier, failures):
    database = Database(url)
    barrier.wait()
    try:
        migrate(database)
    except Exception as error:
        failures.put(repr(error))
        raise
    finally:
        database.close()


def test_the_migrations_lead_to_the_tables_that_the_software_uses(database):
    migrate(database)
    with database.reading() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []


def test_a_database_that_is_up_to_date_is_not_written(database):
    migrate(database)
    with database.reading() as connection:
        before = inspect(connection).get_table_names()
    migrate(database)
    with database.reading() as connection:
        assert inspect(connection).get_table_names() == before


@pytest.mark.parametrize("round_number", range(3))
def test_eight_processes_may_open_a_new_database_at_once(url, round_number):
    spawn = multiprocessing.get_context("fork")
    barrier, failures = spawn.Barrier(8), spawn.Queue()
    processes = [
        spawn.Process(target=open_and_migrate, args=(url, barrier, failures)) for _ in range(8)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 8, failures.get()


def test_a_newer_schema_is_refused_naming_both(database):
    migrate(database)
    with database.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(NewerSchemaError, match=r"has schema '9999'.*knows up to '0001'.*upgrade"):
        migrate(database)
