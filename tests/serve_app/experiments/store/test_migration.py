"""A database of any schema is migrated to the current one when it is opened."""

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from serve_app.experiments.store import ExperimentStore, migrations
from serve_app.experiments.store.database import open_database
from serve_app.experiments.store.migration import VERSION_TABLE, migrate
from serve_app.experiments.store.schema import METADATA
from serve_app.experiments.store_errors import NewerSchemaError
from tests.serve_app.experiments.store.builders import (
    START,
    definition,
    newest_units,
    outcome,
    prediction,
    total,
)
from tests.serve_app.experiments.store.dying import start_together

pytestmark = pytest.mark.slow


def open_and_migrate(barrier, url):
    database = open_database(url)
    barrier.wait()
    migrate(database)
    database.close()


def test_tables(database):
    """The migrations create exactly the tables that the code uses."""
    migrate(database)
    with database.reading() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []


def test_current_schema(database):
    """A database with the current schema is not written."""
    migrate(database)
    with database.reading() as connection:
        before = inspect(connection).get_table_names()
    migrate(database)
    with database.reading() as connection:
        assert inspect(connection).get_table_names() == before


def test_units_of_older_predictions(url):
    """Predictions older than units are in no sums per unit: their bots are unknown.

    As units of their own they would count as independent evidence.
    """
    database = open_database(url)
    with database.writing() as connection:
        upgrade(connection, "0002")
        made = of_schema_0003(definition(assignment="unit_id"))
        experiment = {"definition": made, "started": START.timestamp()}
        connection.execute(
            text(
                "INSERT INTO experiments (experiment_id, definition, status, started_s) "
                "VALUES ('e1', :definition, 'running', :started)"
            ),
            experiment,
        )
        connection.execute(
            text(
                "INSERT INTO predictions (prediction_id, variant, experiment_id, time_s, model, "
                "version, symbol, direction, latency_ms, mirrored) VALUES ('old', 'control', "
                "'e1', :started, 'm', '1.0.0', 'BTCUSDT', 1, 1.0, false)"
            ),
            {"started": START.timestamp()},
        )
    database.close()
    with ExperimentStore(url) as store:
        store.write_predictions([prediction("new")])
        store.record_outcomes([outcome("old"), outcome("new")])
        totals = newest_units(store)
        assert total(store, "control", "labelled") == 2
    assert (totals.seen, totals.labelled) == ([1, 0], [1, 0])


def of_schema_0003(made):
    """Return the JSON of a definition as schema 0003 stores it."""
    return (
        made.model_dump_json()
        .replace('"exposure_steps"', '"exposure_stages"')
        .replace('"exposure_step_hours"', '"stage_hours"')
    )


def test_stored_exposure_steps_are_renamed(url):
    """A definition of schema 0003 is read with all of its fields."""
    made = definition(exposure_steps=(0.01, 0.1), exposure_step_hours=2, salt="sel é")
    database = open_database(url)
    with database.writing() as connection:
        upgrade(connection, "0003")
        connection.execute(
            text(
                "INSERT INTO experiments (experiment_id, definition, status, started_s) "
                "VALUES ('e1', :definition, 'running', :started)"
            ),
            {"definition": of_schema_0003(made), "started": START.timestamp()},
        )
    database.close()
    with ExperimentStore(url) as store:
        assert store.experiment("e1").definition == made


def upgrade(connection, revision):
    config = Config()
    folder = Path(migrations.__file__).parent
    config.set_main_option("script_location", str(folder))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


@pytest.mark.parametrize("round_number", range(3))
def test_eight_processes(url, round_number):
    """Eight processes can open a new database at once."""
    assert start_together(open_and_migrate, 8, url) == [0] * 8


def test_newer_schema(database):
    """A newer schema is rejected with both revisions."""
    migrate(database)
    with database.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(NewerSchemaError, match=r"has schema '9999'.*knows up to '0006'.*upgrade"):
        migrate(database)
