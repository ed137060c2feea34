"""Copies a whole log, also to a database of the other kind, while it is written."""

import errno
import os
import shutil
from pathlib import Path

from sqlalchemy import Connection, insert, select

from features.bar_log import opening
from features.bar_log.database import open_database
from features.bar_log.files import make_folder, write_durably
from features.bar_log.manifest import select_all_parts
from features.bar_log.parts import HISTORY
from features.bar_log.schema import LOG, METADATA
from features.errors import DamagedBarLogError, UnavailableBarLogError, UsedBarLogError
from storage.database import Database

ATTEMPTS = 5
_ROWS_AT_ONCE = 10_000


def has_log(folder: Path) -> bool:
    """Return whether a folder is that of a log."""
    return (folder / opening.ID_FILE).exists()


def copy_log(source: Path, source_url: str | None, target: Path, target_url: str | None) -> None:
    """Copy a log as it is at one moment; its writer does not wait.

    Files of the history are immutable: on one file system the copy shares them.

    Args:
        source: the folder of the log.
        source_url: of its database; None for the SQLite file in the folder.
        target: the folder of the copy, which must be empty or not exist.
        target_url: of the copy's database, which must have no log.

    Raises:
        UsedBarLogError: the target has content already.
        BarLogError: a database or a file cannot be read or written.
    """
    if target.exists() and any(target.iterdir()):
        raise UsedBarLogError(str(target))
    url = opening.existing_url(source, source_url)
    read = open_database(url, prepare=lambda opened: opening.check(opened, source))
    try:
        make_folder(target)
        make_folder(target / HISTORY)
        written = open_database(target_url or opening.default_url(target))
        try:
            _copy(read, source, written, target)
        finally:
            written.close()
        log_id = (source / opening.ID_FILE).read_text()
        # The last file: without it the folder is no log.
        write_durably(target / opening.ID_FILE, lambda path: opening.write_id(path, log_id))
    except OSError as error:
        raise UnavailableBarLogError(str(target), str(error)) from error
    finally:
        read.close()


def _copy(read: Database, source: Path, written: Database, target: Path) -> None:
    for attempt in range(ATTEMPTS):
        with read.snapshot() as rows:
            files = {part.file for part in select_all_parts(rows)}
            try:
                for file in files - {path.name for path in (target / HISTORY).iterdir()}:
                    _copy_file(source / HISTORY / file, target / HISTORY / file)
            except FileNotFoundError as error:
                # The writer has merged this part meanwhile: another snapshot has its successor.
                if attempt == ATTEMPTS - 1:
                    raise DamagedBarLogError(str(error.filename), str(error)) from error
                continue
            with written.writing() as copy:
                _copy_rows(rows, copy, written.url)
        for path in (target / HISTORY).iterdir():
            if path.name not in files:
                path.unlink()
        return


def _copy_file(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise

        def write(path: Path) -> None:
            shutil.copyfile(source, path)

        write_durably(target, write)


def _copy_rows(source: Connection, target: Connection, url: str) -> None:
    METADATA.create_all(target)
    if target.execute(select(LOG)).first() is not None:
        raise UsedBarLogError(url)
    for table in METADATA.sorted_tables:
        found = source.execution_options(yield_per=_ROWS_AT_ONCE).execute(select(table))
        for rows in found.mappings().partitions():
            target.execute(insert(table), [dict(row) for row in rows])
