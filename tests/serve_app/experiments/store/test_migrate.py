"""A database of any age is brought to this software's schema when it is opened."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from serve_app.experiments.store.engine import Database
from serve_app.experiments.store.errors import NewerSchemaError
from serve_app.experiments.store.migrate import VERSION_TABLE, migrate
from serve_app.experiments.store.schema import METADATA
from tests.serve_app.experiments.store.dying import start_together


def open_and_migrate(barrier, url):
    database = Database(url)
    barrier.wait()
    migrate(database)
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
    assert start_together(open_and_migrate, 8, url) == [0] * 8


def test_a_newer_schema_is_refused_naming_both(database):
    migrate(database)
    with database.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(NewerSchemaError, match=r"has schema '9999'.*knows up to '0002'.*upgrade"):
        migrate(database)
