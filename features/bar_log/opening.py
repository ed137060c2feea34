"""Opens the database of a bar log: creates its tables, and checks that it belongs to the folder."""

import os
import uuid
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, insert, inspect, select

from features.bar_log.files import make_folder, write_durably
from features.bar_log.manifest import select_all_parts
from features.bar_log.parts import HISTORY
from features.bar_log.schema import LOG, METADATA, REVISION
from features.errors import DamagedBarLogError, ForeignBarLogError, NewerBarLogError
from storage.database import Database

ID_FILE = "id"
DATABASE_FILE = "bars.db"


def default_url(folder: Path) -> str:
    """Return the URL of the SQLite database in the folder of a log."""
    return f"sqlite:///{quote(str(folder.absolute() / DATABASE_FILE))}"


def existing_url(folder: Path, url: str | None) -> str:
    """Return the URL of the database of a log that exists.

    Raises:
        ForeignBarLogError: there is none, so that opening the database would create a file.
    """
    existing = url or default_url(folder)
    has_file = url is not None or (folder / DATABASE_FILE).exists()
    if not has_file or not (folder / ID_FILE).exists():
        raise ForeignBarLogError(str(folder), "…" if url else existing)
    return existing


def prepare(database: Database, folder: Path) -> None:
    """Create what is missing, and delete files that a killed writer has left behind.

    Raises:
        NewerBarLogError: the database has a schema that this software does not know.
        ForeignBarLogError: folder and database belong to different logs.
        DamagedBarLogError: a part of the history is missing.
    """
    history = folder / HISTORY
    make_folder(history)
    with database.writing() as connection:
        METADATA.create_all(connection)
        _identify(connection, database.url, folder)
        parts = {part.file for part in select_all_parts(connection)}
    found = {path.name for path in history.iterdir()}
    if missing := sorted(parts - found):
        raise DamagedBarLogError(str(history / missing[0]), "the file does not exist")
    for file in found - parts:
        (history / file).unlink()


def check(database: Database, folder: Path) -> None:
    """Check that a database is that of a log and that this software can read it.

    Raises:
        NewerBarLogError: the database has a schema that this software does not know.
        ForeignBarLogError: folder and database belong to different logs, or to none.
    """
    with database.snapshot() as connection:
        if not inspect(connection).has_table(LOG.name):
            raise ForeignBarLogError(str(folder), database.url)
        _compare(connection, database.url, folder)


def _identify(connection: Connection, url: str, folder: Path) -> None:
    file = folder / ID_FILE
    if connection.execute(select(LOG)).one_or_none() is not None:
        _compare(connection, url, folder)
        return
    if any((folder / HISTORY).iterdir()):
        raise ForeignBarLogError(str(folder), url)  # a history without its manifest
    log_id = file.read_text() if file.exists() else uuid.uuid4().hex
    write_durably(file, lambda path: write_id(path, log_id))
    connection.execute(insert(LOG).values(revision=REVISION, log_id=log_id))


def _compare(connection: Connection, url: str, folder: Path) -> None:
    file = folder / ID_FILE
    found = connection.execute(select(LOG)).one()
    if found.revision > REVISION:
        raise NewerBarLogError(url, found.revision, REVISION)
    if not file.exists() or file.read_text() != found.log_id:
        raise ForeignBarLogError(str(folder), url)


def write_id(path: Path, log_id: str) -> None:
    """Write the id of a log to a file that only this user can read."""
    path.write_text(log_id)
    os.chmod(path, 0o600)  # noqa: PTH101
