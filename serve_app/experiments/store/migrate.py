"""Brings a database to this software's schema, by Alembic, when it is opened."""

import threading
from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from serve_app.experiments.store.engine import Database
from serve_app.experiments.store_errors import NewerSchemaError

VERSION_TABLE = "experiments_schema"
"""Where the schema's revision stands; a name of its own, so that a database may be shared."""

_ONE_AT_A_TIME = threading.Lock()
"""Alembic keeps the migration under way in a global of the process."""


def migrate(database: Database) -> None:
    """Bring the schema up to date; of several processes at once one does it, the others wait.

    All steps are one transaction: whoever dies in between leaves the schema as it was.

    Raises:
        NewerSchemaError: the database has a schema that this software does not know.
        UnavailableStoreError: the database cannot be opened or written.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    revisions = [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()]
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
    """Return the database's revision, None for a new one; `revisions` has the newest first."""
    options = {"version_table": VERSION_TABLE}
    current = MigrationContext.configure(connection, opts=options).get_current_revision()
    if current is not None and current not in revisions:
        raise NewerSchemaError(database.url, current, revisions[::-1])
    return current
