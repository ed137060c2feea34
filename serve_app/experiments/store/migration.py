"""Migrates a database to the current schema, with Alembic, when it is opened."""

import threading
from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from serve_app.experiments.store_errors import NewerSchemaError
from storage.database import Database

VERSION_TABLE = "experiments_schema"
"""The table that stores the schema's revision; its name allows a shared database."""

_ONE_AT_A_TIME = threading.Lock()
"""Serialises migrations: Alembic keeps the current one in a global of the process."""


def migrate(database: Database) -> None:
    """Migrate the schema to the latest revision.

    If several processes open the database at once, one of them migrates it and the others wait. All
    steps are one transaction: if the process dies, the schema is unchanged.

    Raises:
        NewerSchemaError: the database has a schema that this software does not know.
        UnavailableStoreError: the database cannot be opened or written.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    revisions = [script.revision for script in scripts]
    with database.reading() as connection:
        if _known_revision(connection, database, revisions) == revisions[0]:
            return
    with database.writing() as connection, _ONE_AT_A_TIME:
        _known_revision(connection, database, revisions)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _known_revision(
    connection: Connection, database: Database, revisions: Sequence[str]
) -> str | None:
    """Return the revision of the database, None for a new one; `revisions` is newest first."""
    options = {"version_table": VERSION_TABLE}
    current = MigrationContext.configure(connection, opts=options).get_current_revision()
    if current is not None and current not in revisions:
        raise NewerSchemaError(database.url, current, revisions[::-1])
    return current
